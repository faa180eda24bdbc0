"""Bad input: one sentence that names what is wrong, exit code 2, nothing written."""

import io
import json
import os
import re
import shutil
from importlib.metadata import version

import pytest
import torch
from conftest import tiny_model
from safetensors.torch import load_file, save_file

import innerdistill
from innerdistill.cli import terminal as terminal_module
from innerdistill.cli.main import main
from innerdistill.models.config_file import refuse_missing_folder
from innerdistill.recipe.keys import keys
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.yaml import write_yaml
from innerdistill.support.in_use import hold
from innerdistill.sweep.declaration import Sweep


@pytest.fixture
def files(tmp_path):
    def write(name, text):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    write("one_class.csv", "text,label\ngood1,pos\ngood2,pos\n")
    write("no_label.csv", "text,label\ngood1,pos\nbad1,\ngood1,pos\n")
    write("unknown.csv", "text,label\n" + "".join(f"good{n},pos\nbad{n},neg\nword{n},neutral\n" for n in range(20)))
    write("empty.csv", "text,label\n")
    write("nothing.csv", "")
    write("ragged.csv", "text,label\ngood1,pos\nbad1\n")
    write("latin.csv", b"text,label\ncaf\xe9,pos\nbad1,neg\n")
    write("broken.jsonl", '{"text": "good1", "label": "pos"}\n{"text": \n')
    write("numbers.jsonl", '{"text": 1, "label": "pos"}\n{"text": 2, "label": "neg"}\n')
    write("text_scores.csv", "text,label\ngood1,0.5\nbad1,high\n")
    write("nan_scores.csv", "text,label\ngood1,0.5\nbad1,nan\n")
    write("twice.csv", "text,text,label\na,b,pos\n")
    write("data.xlsx", "x")
    return tmp_path


BAD = [
    # data
    (["data.train={files}/missing.csv"], "missing.csv: no such file"),
    (["data.train={files}/data.xlsx"], "unknown format '.xlsx'"),
    (["data.text=txet"], "no column 'txet'. Did you mean 'text'?"),
    (["data.label=lable"], "no column 'lable'. Did you mean 'label'?"),
    (["data.train={files}/empty.csv"], "no rows"),
    (["data.train={files}/nothing.csv"], "nothing.csv: no column 'text'"),
    (["data.validation={files}/empty.csv"], "no rows"),
    (["data.train={files}/one_class.csv"], "1 class (pos)"),
    (["data.train={files}/no_label.csv"], "row 2 has no 'label'"),
    (["data.train={files}/unknown.csv"], "the data has 3 labels (neg, neutral, pos), the teacher 2"),
    (["data.validation={files}/unknown.csv"], "validation: row 3: unknown label 'neutral'"),
    (["data.train={files}/ragged.csv"], "ragged.csv: row 2 (line 3): expected 2 cells, got 1"),
    (
        ["data.train={files}/latin.csv"],
        "latin.csv: row 1: 'text' is not UTF-8 text ('caf\\udce9'); save the file as UTF-8",
    ),
    (["data.train={files}/broken.jsonl"], "broken.jsonl: row 2 (line 2): no JSON object (Expecting value)"),
    (["data.train={files}/numbers.jsonl"], "row 1: 'text' holds 1, expected text"),
    (["data.train={files}/twice.csv"], "appears 2 times"),
    (
        ["data.train={files}/text_scores.csv", "data.metric=pearson"],
        "row 2: expected a number between -1e6 and 1e6 as score, got 'high'",
    ),
    (
        ["data.train={files}/nan_scores.csv", "data.metric=pearson"],
        "row 2: expected a number between -1e6 and 1e6 as score, got 'nan'",
    ),
    (["data.metric=pearson", "data.label=label"], "row 1: expected a number between -1e6 and 1e6 as score, got"),
    (["data.metric=acuracy"], "Did you mean 'accuracy'"),
    (["data.task=col"], "Did you mean 'cola'"),
    (["data.task=cola", "data.path={files}/nowhere"], "is not a folder"),
    (["data.train=null"], "data.train: name the training file"),
    (["data.text=null"], "data.text"),
    (["data.max_length=5000"], "5000 tokens were asked for, but the model allows 66"),
    # models
    (["teacher.path={files}"], "expected a model folder with a config.json"),
    (["teacher.path=no/such/model"], "teacher.path: no/such/model: no such folder."),
    (["teacher.path={base}"], "this is a base model, its classification head is missing"),
    (["teacher.path={wordless}"], "its tokenizer knows no words; copy the model's tokenizer.json or vocabulary there"),
    (["teacher.path={nan}"], "holds values that are not finite"),
    (["teacher.path={cut}"], "its files do not hold all weights that its config.json asks for (1 are missing"),
    (["teacher.path={three}"], "classifier.bias is [2] in its files and [3] by its config.json"),
    (["teacher.path={twice}"], "two outputs are called 'same'; give each a name of its own (id2label)"),
    (["teacher.path={pickled}"], "pytorch_model.bin is a pickle, which may run code when it is read"),
    (["teacher.path=null", "teacher.base={foreign}"], "they hold those of another model, such as foreign."),
    (["trainer.gradient_accumulation_steps=0"], "expected a number of at least 1, got 0"),
    (["trainer.learning_rate=abc"], "trainer.learning_rate: expected a number of at least 0, got 'abc'"),
    (["schedule.total_steps=2"], "2 steps are too few for 2 mapped layers"),
    (["layer_map=[4, 2]"], "must not go down"),
    (["teacher.base={base}"], "are set; teacher.path=null or teacher.base=null removes one."),
    (["teacher.path=null"], "give either teacher.path"),
    (["student.num_layers=9"], "9 layers were asked for, but the source has only 4"),
    (["student.source=base"], "'base' means the layers of teacher.base"),
    (["student.source={wide}"], "hidden_size is 32, the student's 48, and cls_cosine compares activations. To learn"),
    (["student.source={heads}"], "num_heads is 4, the student's 2, and attention is compared head by head"),
    (["student.source={albert}"], "'albert' are not supported (all its layers share one set of weights, so none can"),
    (
        ["teacher.path={window}", "student.layers=first", "layer_map={2: 4}"],
        "teacher layer 4 attends to the whole text, student layer 2 only to a window of it",
    ),
    (["layer_map=[1, 9]"], "layer_map: layer 9 is out of range 1 ... 4"),
    (["student.layers=[1]"], "student.layers: expected 2 layers"),
    # recipe
    (["schedule.nmae=pid"], "unknown key 'schedule.nmae'. Did you mean 'name'?"),
    (["shcedule.name=pid"], "unknown key 'shcedule'. Did you mean 'schedule'?"),
    (["schedule.name=sidd"], "Did you mean 'sid'"),
    (["schedule.name=distil"], "Did you mean 'sid' (the default, with internal layers) or 'soft_labels'"),
    (["losses.attention_lk=1"], "losses: unknown loss 'attention_lk'. Did you mean 'attention_kl'"),
    (["losses.attention_kl=-1"], "losses.attention_kl: expected a number greater than or equal to 0, got -1"),
    (["temperature=0"], "temperature: expected a number greater than 0, got 0"),
    (["schedule.epochs_per_layer=many"], "schedule.epochs_per_layer: expected a number, got 'many'"),
    (["temperature=null"], "temperature: expected a number, got null"),
    (["student.num_layers=two"], "student.num_layers: expected a whole number, got 'two'"),
    (["onnx=maybe"], "onnx: expected true or false, got 'maybe'"),
    (["teacher=x"], "teacher: expected a mapping of keys to values, got 'x'"),
    (["student.layers=2"], "list of layer numbers, got 2. The number of layers is student.num_layers."),
    (["learning_rate=1e-4"], "unknown key 'learning_rate'. Did you mean trainer.learning_rate?"),
    (["schedule.num_layers=2"], "unknown key 'schedule.num_layers'. Did you mean student.num_layers?"),
    (["seed=1", "studnet.num_layers=2"], "override 'studnet.num_layers=2': unknown key 'studnet'. Did you mean"),
    (["schedule.threshold=0.1", "losses.cls_cosine=0"], "schedule.threshold"),
    (
        ["trainer.learning_rat=1"],
        "trainer: TrainingArguments has no key 'learning_rat'. Did you mean 'learning_rate'",
    ),
    (["trainer.num_train_epochs=1"], "trainer.num_train_epochs is not supported: set schedule"),
    (["trainer.optim=sgdd"], "trainer: "),
    (["trainer.adam_beta1=abc"], "trainer: "),
    (["trainer.adam_beta1=2"], "trainer: Invalid beta parameter"),
    (["internal_trainer.lr_scheduler_kwargs={num_cycle: 2}"], "internal_trainer: "),
    (
        [
            "trainer.lr_scheduler_type=cosine",
            "trainer.lr_scheduler_kwargs={num_cycles: 2}",
            "teacher.trainer.lr_scheduler_type=linear",
        ],
        "teacher.trainer: ",
    ),
    (["trainer.lr_scheduler_type=reduce_lr_on_plateau"], "trainer.lr_scheduler_type: 'reduce_lr_on_plateau' follows a"),
    (["trainer.lr_scheduler_type=greedy"], "trainer.lr_scheduler_type: 'greedy' follows a loss"),
    (["trainer.torch_compile_backend=inductor"], "trainer.torch_compile_backend is not supported"),
    (["trainer.ignore_data_skip=true"], "trainer.ignore_data_skip is not supported"),
    (["trainer.learning_rate=.inf"], "trainer.learning_rate: expected a finite number, got inf"),
    (["trainer.gradient_accumulation_steps=99999999999"], "expected a whole number below 2^31"),
    (["trainer.log_level=foo"], "trainer.log_level: 'foo' is not one of"),
    (["trainer.optim=lomo"], "trainer: "),
    (["trainer.dataloader_persistent_workers=true"], "trainer.dataloader_...: persistent_workers option needs"),
    (["trainer.fsdp=full_shard"], "trainer.fsdp is not supported"),
    (["data.labels=[true, false]"], 'put them in quotes, "true"'),
    (["seed"], "expected key=value"),
    (["seed=!!bool maybe"], "override 'seed=!!bool maybe': not valid YAML"),
    (["seed=0x" + "f" * 5_000], "seed: "),
    (['data.text="\\ud800"'], "line 1 not valid YAML (half a character, '\\ud800')"),
    (["data.text=[a, b, c, d]"], "data.text"),
    (["output={files}"], "which is not part of a run"),
]


def fill(word, **names):
    """Put paths into an override whose value may hold braces of its own."""
    for name, path in names.items():
        word = word.replace(f"{{{name}}}", str(path))
    return word


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("models/minilmm", "; did you mean models/minilm?"),
        ("./models/minilmm", "; did you mean models/minilm?"),
        ("models/nothing", "."),
        ("a/b/c", "."),
        (".hidden", "."),
        ("~/models/minilm", "; did you mean {home}/models/minilm?"),
    ],
)
def test_a_missing_folder_is_not_looked_up_elsewhere(recipe_file, tmp_path, monkeypatch, capsys, name, hint):
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("innerdistill.cli.main._import_libraries", lambda: pytest.fail("too late"))
    overrides = [["teacher.path={}"], ["teacher.internal={}"], ["student.source={}"]]
    overrides.append(["teacher.path=null", "teacher.base={}"])
    commands = [["distill", str(recipe_file), *(word.format(name) for word in words)] for words in overrides]
    commands += [["predict", name, "new.csv", "--output", "out.csv"], ["export", name], ["speed", name]]
    commands.append(["evaluate", str(recipe_file), "--model", name])
    for command in commands:
        assert main(command) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{name}: no such folder{hint.format(home=tmp_path)}" in said, command


def test_a_name_of_the_hub_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bert-base-uncased", "microsoft/MiniLM-L12-H384-uncased", "a.b"):
        refuse_missing_folder(name)


@pytest.fixture(scope="module")
def models(tokenizer, base_folder, teacher_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_model(hidden_size=48).save_pretrained(folder / "wide")
    tiny_model(num_attention_heads=2).save_pretrained(folder / "heads")
    tiny_model("albert").save_pretrained(folder / "albert")
    tiny_model("modernbert", id2label={0: "neg", 1: "pos"}).save_pretrained(folder / "window")
    tokenizer.save_pretrained(folder / "window")
    weights = {f"foreign.{name}": value for name, value in load_file(base_folder / "model.safetensors").items()}
    shutil.copytree(base_folder, folder / "foreign")
    save_file(weights, folder / "foreign" / "model.safetensors", metadata={"format": "pt"})
    ill = ("wordless", "nan", "cut", "three", "twice")
    for name in ill:
        shutil.copytree(teacher_folder, folder / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "wordless" / file).unlink()
    weights = load_file(teacher_folder / "model.safetensors")
    query = "bert.encoder.layer.1.attention.self.query.weight"
    for name, changed in {
        "nan": {**weights, query: weights[query] * float("nan")},
        "cut": {key: value for key, value in weights.items() if key != query},
    }.items():
        save_file(changed, folder / name / "model.safetensors", metadata={"format": "pt"})
    for name, labels in {"three": ["neg", "pos", "new"], "twice": ["same", "same"]}.items():
        config = json.loads((folder / name / "config.json").read_text())
        config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        (folder / name / "config.json").write_text(json.dumps(config))
    (folder / "pickled").mkdir()
    shutil.copy(base_folder / "config.json", folder / "pickled")
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    return {
        "base": base_folder,
        "pickled": folder / "pickled",
        "foreign": folder / "foreign",
        **{name: folder / name for name in ("wide", "heads", "albert", "window", *ill)},
    }


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
def test_one_sentence_and_exit_code_2(recipe_file, files, models, capsys, overrides, message):
    before = sorted(files.rglob("*"))
    code = main(["distill", str(recipe_file), *(fill(word, files=files, **models) for word in overrides)])
    error = capsys.readouterr().err
    assert code == 2, error
    assert message in error
    *announced, sentence = error.splitlines()  # what torch has to be imported for is refused after two lines
    assert sentence.startswith("innerdistill: ") and message in sentence
    assert not re.search(
        r"[:;] (Did you mean|[A-Z][a-z ]+: )", sentence
    )  # the names that are known come after a full stop
    assert not announced or announced[1:] == ["Load data and models."]
    assert sorted(files.rglob("*")) == before


def test_a_missing_or_damaged_recipe(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("data: [unclosed\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "twice.yaml").write_text("data:\n  train: a.csv\n  text: t\n  train: b.csv\n")
    levels = [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "bomb.yaml").write_text("\n".join(["k0: &a0 [x]", *levels]))
    (tmp_path / "itself.yaml").write_text("data: &d {train: *d}")
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 3000)
    (tmp_path / "large.yaml").write_text("# " + "x" * 10**6)
    for name, message in (
        ("none.yaml", "cannot be read"),
        ("bad.yaml", "not valid YAML"),
        ("list.yaml", "is a mapping"),
        ("twice.yaml", "line 4 not valid YAML (the key 'train' occurs twice)"),
        ("bomb.yaml", "its references unfold to more than 100,000 values"),
        ("itself.yaml", "its references unfold to more than"),
        ("deep.yaml", "too deeply nested"),
        ("large.yaml", "larger than 1 MB"),
    ):
        assert main(["plan", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err


def test_plan_trains_nothing(recipe_file, files, capsys):
    before = sorted(files.rglob("*"))
    assert main(["plan", str(recipe_file)]) == 0
    shown = capsys.readouterr().out
    assert "layer 1+2" in shown and "minutes on this machine" in shown and sorted(files.rglob("*")) == before
    for line in (
        "Examples of train by class: neg ",
        "No text is longer than 64 tokens, so none is truncated.",
        "Metric: accuracy.",
    ):
        assert line in shown


@pytest.fixture
def terminal(monkeypatch):
    """A function that prints as in a terminal of 80 columns, and returns what it printed."""

    def run(*arguments):
        output = io.StringIO()
        changes = {"_file": output, "_force_terminal": True, "_width": 80, "_color_system": None}
        for name, value in changes.items():
            monkeypatch.setattr(terminal_module.console, name, value)
        assert main(list(arguments)) == 0
        return output.getvalue()

    return run


def test_keys_are_explained_in_80_columns_by_section_in_a_terminal(terminal):
    shown = terminal("keys")
    lines = shown.splitlines()
    assert "  temperature: number > 0 ≤ 100; default 1.0\n      Temperature of the soft labels." in shown
    assert [line for line in lines if line[0] != " "] == ["data", "teacher", "student", "schedule", "other keys"]
    assert max(map(len, lines)) <= 80
    for key in keys(Recipe):  # name, type and default are in one line
        assert any(line.startswith(f"  {key.name}: {key.values}") and key.default in line for line in lines), key
    assert "  methods: mapping; needed\n" in terminal("keys", "sweep")


def test_a_search_for_a_word_finds_the_key_in_a_pipe(capsys):
    assert main(["keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(keys(Recipe))
    found = [line.partition(":")[0] for line in lines if "learning" in line]
    assert found == ["trainer"]
    assert "teacher.epochs: number > 0; default 3. Epochs of the teacher's fine-tuning." in lines


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"innerdistill {version('innerdistill')}\n"
    assert innerdistill.__version__ == version("innerdistill")


def test_a_file_for_another_verb(recipe_file, tmp_path, capsys):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(write_yaml({"recipe": {"data": {"task": "sst2"}}, "methods": {"sid": {}}, "seeds": [1]}))
    for verb in ("distill", "finetune", "evaluate"):
        assert main([verb, str(sweep)]) == 2
        assert capsys.readouterr().err == f"innerdistill: {sweep} is a sweep; run it with: innerdistill sweep {sweep}\n"
    assert main(["sweep", str(recipe_file)]) == 2
    sentence = f"innerdistill: {recipe_file} is a recipe; run it with: innerdistill distill {recipe_file}\n"
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("model", [Recipe, Sweep])
def test_a_key_is_described_by_a_sentence(model):
    for key in keys(model):
        assert key.meaning[0].isupper() and key.meaning.endswith("."), key.name


@pytest.mark.parametrize(("verb", "meant"), [("distil", "distill"), ("fine-tune", "finetune"), ("plann", "plan")])
def test_the_nearest_verb_is_suggested(capsys, verb, meant):
    with pytest.raises(SystemExit) as ended:
        main([verb, "recipe.yaml"])
    assert ended.value.code == 2 and f"unknown verb '{verb}'. Did you mean '{meant}'?" in capsys.readouterr().err


def test_caches_are_listed_and_deleted_by_name(tmp_path, capsys):
    teacher = tmp_path / "custom-0123456789ab"
    teacher.mkdir()
    (teacher / "recipe.yaml").write_text("teacher: {base: models/minilm}")
    (teacher / "model.safetensors").write_bytes(b"0" * 2_000_000)
    assert main(["clean", "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "custom-0123456789ab" in shown and "from minilm" in shown and "2 MB" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["clean", "--folder", str(tmp_path), "--delete", "custom-0123456789aa"]) == 2
    assert "Did you mean 'custom-0123456789ab'" in capsys.readouterr().err.replace("\n", " ") and teacher.exists()
    mark = hold(teacher)
    assert main(["clean", "--folder", str(tmp_path), "--delete", teacher.name]) == 2
    assert "a running process uses it" in " ".join(capsys.readouterr().err.split()) and teacher.exists()
    mark.release()
    assert main(["clean", "--folder", str(tmp_path), "--delete", teacher.name]) == 0
    assert "Deleted: custom-0123456789ab (2 MB)" in capsys.readouterr().out and not teacher.exists()


def test_overrides_may_stand_behind_an_option(recipe_file, capsys):
    verb = ["evaluate", str(recipe_file), "seed=3", "--model", "nowhere"]
    assert main([*verb, "temperature=hot"]) == 2
    assert "temperature" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*verb, "--modle", "nowhere"])
    assert "--modle" in capsys.readouterr().err


def test_verbs_in_their_natural_order(recipe_file, data_folder, tmp_path, capsys):
    assert main(["distill", str(recipe_file), "schedule.name=pid"]) == 0
    shown = capsys.readouterr().out
    assert "teacher" in shown and "constant answer" in shown and "report.html" in shown
    assert main(["distill", str(recipe_file)]) == 2
    assert "holds a finished run" in capsys.readouterr().err
    assert main(["distill", str(recipe_file), "overwrite=true", "schedule.name=soft_labels"]) == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["schedule"]["name"] == "soft_labels"
    assert main(["evaluate", str(recipe_file)]) == 0
    assert main(["speed", str(tmp_path / "out"), "--length", "16", "--repeats", "3"]) == 0
    assert main(["report", str(tmp_path / "out")]) == 0
    target = tmp_path / "predicted.csv"
    assert main(["predict", str(tmp_path / "out"), f"{data_folder}/validation.csv", "--output", str(target)]) == 0
    assert target.read_text().startswith('"text","label","predicted_label"')
    (tmp_path / "long.csv").write_text("text\n" + "good1 " * 90 + "\n")
    assert main(["predict", str(tmp_path / "out"), str(tmp_path / "long.csv"), "--output", str(target)]) == 0
    assert "1 of 1 rows are longer than 64 tokens" in capsys.readouterr().err
    assert (
        main(["predict", str(tmp_path / "out"), f"{data_folder}/scores.csv", "--text", "txt", "--output", "x.csv"]) == 2
    )
    assert "Did you mean 'text'" in capsys.readouterr().err
    for output, message in (("nowhere/x.csv", "there is no folder"), ("model.csv", "this is a folder")):
        (tmp_path / "model.csv").mkdir(exist_ok=True)
        file = str(tmp_path / output)
        assert main(["predict", str(tmp_path / "out"), f"{data_folder}/validation.csv", "--output", file]) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")
    shutil.rmtree(tmp_path / "out" / "model")
    for words in (["predict", str(tmp_path / "out"), f"{data_folder}/validation.csv", "--output", str(target)],
                  ["export", str(tmp_path / "out")], ["speed", str(tmp_path / "out")]):  # fmt: skip
        assert main(words) == 2
        assert "the run has no model; it was deleted" in capsys.readouterr().err.replace("\n", " ")


def test_a_run_that_its_own_teacher_lies_in_is_not_overwritten(recipe_file, tmp_path, capsys):
    assert main(["distill", str(recipe_file), "schedule.name=soft_labels"]) == 0
    inside = f"teacher.path={tmp_path}/out/model"
    assert main(["distill", str(recipe_file), inside, "overwrite=true", "student.num_layers=1"]) == 2
    assert "which overwrite=true would delete" in capsys.readouterr().err
    assert (tmp_path / "out" / "run.json").is_file()


def test_a_teacher_no_better_than_chance_is_said_aloud(recipe_file, make_model, tokenizer, tmp_path, capsys):
    model = make_model(layers=4)
    model.config.id2label = {0: "neg", 1: "pos"}
    model.save_pretrained(tmp_path / "chance")
    tokenizer.save_pretrained(tmp_path / "chance")
    assert main(["distill", str(recipe_file), f"teacher.path={tmp_path}/chance", "schedule.name=soft_labels"]) == 0
    printed, log = capsys.readouterr()
    assert "not clearly more than" in log and "was fine-tuned for this task" in " ".join(log.split())
    assert printed.startswith("Nothing can be concluded from this run") and "%" not in printed.split("Agreement")[0]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_is_said_in_a_sentence(recipe_file, capsys, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr("innerdistill.run.distill.distill", full)
    assert main(["distill", str(recipe_file)]) == 2
    said = capsys.readouterr().err
    assert "lower trainer.per_device_train_batch_size" in said and "resume" not in said


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (16, "the loss is no longer a finite number"),
        (512, "step 1: the student's weights are no longer finite numbers"),  # one step, and no loss after it
    ],
)
def test_a_loss_that_becomes_nan_stops_with_stage_and_step(recipe_file, capsys, batch, said):
    words = ["schedule={name: finetune, classification_epochs: 1}", f"trainer.per_device_train_batch_size={batch}"]
    words += ["trainer.learning_rate=1e38", "trainer.weight_decay=1e5", "trainer.warmup_steps=0"]
    assert main(["distill", str(recipe_file), *words]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "stage 'classification', step" in shown and said in shown


def test_a_recipe_that_is_a_pipe_is_refused(tmp_path, capsys):
    os.mkfifo(tmp_path / "recipe.yaml")
    assert main(["plan", str(tmp_path / "recipe.yaml")]) == 2
    assert "the recipe cannot be read (not a file)" in capsys.readouterr().err


@pytest.mark.parametrize("fast", [True, False])
def test_16_bits_where_the_processor_has_none_are_warned_of(recipe_file, capsys, monkeypatch, fast):
    monkeypatch.setattr("innerdistill.run.assemble.has_fast_bfloat16", lambda device: fast)
    assert main(["plan", str(recipe_file), "trainer.bf16=true"]) == 0
    assert ("ten times as long" in " ".join(capsys.readouterr().err.split())) != fast
