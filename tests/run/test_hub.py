"""The upload of a finished run, to a stand-in for the Hub's HTTP API."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from innerdistill import load_recipe, load_sweep, run_sweep
from innerdistill.cli.main import main
from innerdistill.data.batches import make_collator
from innerdistill.recipe.yaml import write_yaml
from innerdistill.run.assemble import check_names
from innerdistill.run.preview import check_extras
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage

PUSH = "import sys; from innerdistill.run.hub import push_to_hub; print(push_to_hub(sys.argv[1], sys.argv[2], private=True))"


class Hub(BaseHTTPRequestHandler):
    """Answers what create_repo and upload_folder ask for; all files travel inside the commit."""

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b"".join(self.read_chunks())
        server = self.server
        server.tokens.append(self.headers["Authorization"])
        if self.path == "/api/repos/create":
            request = json.loads(body)
            server.created.append(request)
            name = f"{request['organization']}/{request['name']}"
            self.answer({"url": f"{server.address}/{name}"}, code=server.code)
        elif self.path == "/api/validate-yaml":
            self.answer({})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            plan = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
            self.answer({"files": plan})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{server.address}/me/model/commit/1", "commitOid": "1"})
        else:
            self.answer({"error": f"unknown {self.path}"}, code=404)

    def do_GET(self):
        self.answer({"id": "me/model", "sha": "0", "siblings": [], "error": "not found"}, code=404)

    def read_chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def answer(self, content, code=200):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.created, server.files, server.tokens, server.code = [], {}, [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def run_with(hub, *command, **environment):
    """Run Python with the stand-in as its Hub; huggingface_hub reads the address when it is imported."""
    changes = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "secret", **environment}
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, **changes, "PYTHONPATH": source, "NO_PROXY": "*"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def test_a_folder_becomes_a_repository(hub, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nA card.\n")
    (tmp_path / "config.json").write_text("{}")
    done = run_with(hub, "-c", PUSH, str(tmp_path), "me/model")
    assert done.stdout.strip() == f"{hub.address}/me/model", done.stderr
    [created] = hub.created
    assert (created["organization"], created["name"], created["visibility"]) == ("me", "model", "private")
    assert hub.files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(hub.tokens) == {"Bearer secret"}


def test_a_refused_upload_is_one_sentence(hub, tmp_path):
    hub.code = 403
    done = run_with(hub, "-c", PUSH, str(tmp_path), "me/model")
    assert f"ValueError: {tmp_path} was not uploaded to me/model: " in done.stderr and "403" in done.stderr
    done = run_with(hub, "-c", PUSH, str(tmp_path / "none"), "me/model")
    assert "none: expected the folder of a model." in done.stderr and len(hub.created) == 1


def test_a_run_uploads_its_model_at_its_end(hub, recipe, teacher_folder, tmp_path):
    upload = {"push_to_hub": True, "hub_model_id": "me/model", "hub_private_repo": True}
    content = recipe(
        tmp_path / "run", trainer=upload, schedule={"name": "finetune", "total_steps": 2}, data={"train_rows": 64}
    )
    content["teacher"] = {"path": str(teacher_folder), "folder": content["teacher"]["folder"], "allow_weak": True}
    (tmp_path / "recipe.yaml").write_text(write_yaml(content))
    done = run_with(hub, "-m", "innerdistill", "distill", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 0 and f"Uploaded the model to {hub.address}/me/model." in done.stderr, done.stderr
    assert len(hub.created) == 1  # none by the Trainer
    model = tmp_path / "run" / "model"
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= set(hub.files)
    assert hub.files == {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert b"secret" not in (tmp_path / "run" / "recipe.yaml").read_bytes()
    uploaded, hub.files = hub.files, {}
    again = "import innerdistill, sys; print(innerdistill.Run.load(sys.argv[1]).push_to_hub('me/model'))"
    done = run_with(hub, "-c", again, str(tmp_path / "run"))
    assert done.stdout.strip() == f"{hub.address}/me/model" and hub.files == uploaded, done.stderr


@pytest.fixture
def signed_in(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("HF_TOKEN", "secret")


@pytest.mark.parametrize(
    ("options", "token", "message"),
    [
        (
            {"hub_model_id": "me/model"},
            "",
            "trainer.push_to_hub: me/model: an upload needs a token; run `hf auth login`",
        ),
        ({}, "secret", "trainer.hub_model_id: name the repository to upload to, such as my-name/my-model."),
        ({"hub_model_id": "a/b/c"}, "secret", "trainer.push_to_hub: 'a/b/c' is not the name of a repository"),
    ],
)
def test_an_upload_that_cannot_work_is_refused_before_training(
    recipe, tmp_path, signed_in, monkeypatch, options, token, message
):
    monkeypatch.setenv("HF_TOKEN", token)
    wanted = load_recipe(recipe(tmp_path / "run", trainer={"push_to_hub": True, **options}))
    with pytest.raises(ValueError, match=message):
        check_extras(wanted)


def test_what_has_no_model_folder_of_its_own_uploads_nothing(make_model, tokenised, tokenizer, recipe, tmp_path):
    upload = {"push_to_hub": True, "hub_model_id": "me/model"}
    with pytest.raises(ValueError, match="trainer.push_to_hub is not supported: distill_models writes no model folder"):
        distill_models(
            None,
            make_model(),
            stages=[Stage("gold", {"gold_labels": 1.0}, {}, steps=1)],
            setup=TrainingSetup(train=tokenised, collate=make_collator(tokenizer), trainer=upload),
            folder=tmp_path,
        )
    content = {**recipe(tmp_path, trainer=upload)}
    del content["output"]
    sweep = {"recipe": content, "methods": {"SID": {}}, "seeds": [1], "output": str(tmp_path / "sweep")}
    (tmp_path / "sweep.yaml").write_text(write_yaml(sweep))
    with pytest.raises(ValueError, match="trainer.push_to_hub is not supported in a sweep: every cell would overwrite"):
        run_sweep(load_sweep(tmp_path / "sweep.yaml"))


def test_offline_nothing_is_uploaded(recipe, tmp_path, capsys):
    content = recipe(tmp_path / "run", trainer={"push_to_hub": True, "hub_model_id": "me/model"})
    (tmp_path / "recipe.yaml").write_text(write_yaml(content))
    assert main(["distill", str(tmp_path / "recipe.yaml")]) == 2
    assert "HF_HUB_OFFLINE is set, so nothing can be uploaded" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_token_is_not_written_into_a_recipe(recipe, tmp_path):
    with pytest.raises(ValueError, match="trainer.hub_token is not supported: a run stores its recipe") as raised:
        check_names(load_recipe(recipe(tmp_path, trainer={"hub_token": "secret"})))
    assert "secret" not in str(raised.value)
