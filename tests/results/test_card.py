from innerdistill.results.card import escaped


def test_text_of_others_keeps_its_words_and_loses_its_markup():
    assert escaped("not_entailment") == "not&#95;entailment"
    assert escaped("a & b #1\n<b>|") == "a &#38; b &#35;1 &#60;b&#62;&#124;"
