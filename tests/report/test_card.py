from innerdistill.report.card import escaped


def test_text_of_others_keeps_its_words_and_loses_its_markup():
    assert escaped("not_entailment") == r"not\_entailment"
    assert escaped("a & b #1\n<b>|") == r"a &amp; b \#1 &lt;b&gt;\|"
    assert escaped("p < 0.001") == "p < 0.001"
