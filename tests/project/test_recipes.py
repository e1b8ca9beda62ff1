"""What the recipes of docs/recipes set up works: servers with workers, a crash server, a cluster, containers' files."""

from __future__ import annotations

import configparser
import contextlib
import email
import functools
import http.client
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from test_readme import FILE, ROOT

import minidump_cffi as md

pytestmark = pytest.mark.linux

RECIPES = ROOT / "docs" / "recipes"


def texts(page: str, kind: str) -> list[str]:
    """The blocks of a page that begin with these words."""
    found = re.findall(
        rf"^```{re.escape(kind)}\n(.*?)^```", (RECIPES / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no {kind}"
    return found


def files(page: str, folder: Path) -> None:
    """Write the files of a page."""
    found = FILE.findall((RECIPES / page).read_text("utf-8"))
    assert found
    for name, text in found:
        (folder / name).write_text(text)


def until(what: Callable[[], object], seconds: float = 30.0) -> object:
    """Wait for something that is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def get(port: int, path: str) -> bytes | None:
    """What a server on this machine answers, None while it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bytes(answer.read())
    except (OSError, http.client.HTTPException):
        return None


@contextlib.contextmanager
def server(folder: Path, dumps: Path, port: int, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server whose modules are in the folder, which is ended by SIGTERM."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "DUMPS": str(dumps), "BIND": f"127.0.0.1:{port}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@pytest.mark.parametrize("name", ["gunicorn", "uvicorn"])
def test_worker_that_crashes_leaves_a_dump(name: str, tmp_path: Path) -> None:
    """The dump is that of the worker, and the server goes on with another one."""
    files("workers.md", tmp_path)
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    [line] = [line for text in texts("workers.md", "sh norun") for line in text.splitlines() if line.startswith(name)]
    command = ["-m", *line.split(), *(["--port", str(port)] if name == "uvicorn" else [])]
    with server(tmp_path, dumps, port, *command) as process:
        until(lambda: get(port, "/") == b"well\n")
        assert get(port, "/crash") is None
        [dump] = until(lambda: list(dumps.glob("worker-*-SIGSEGV-*.dmp")))
        until(lambda: get(port, "/") == b"well\n")
        assert process.poll() is None
    with md.open_dump(dump) as opened:
        assert opened.pid != process.pid
        assert opened.exception is not None and opened.exception.code == signal.SIGSEGV


def test_worker_that_hangs_leaves_a_dump(tmp_path: Path) -> None:
    """Gunicorn ends it with SIGABRT, which the recipe's order of hooks makes a dump of."""
    files("workers.md", tmp_path)
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hanging = "import time\ndef app(environ, start_response):\n    time.sleep(60)\n"
    (tmp_path / "hanging.py").write_text(hanging)
    arguments = ["-c", "gunicorn.conf.py", "--timeout", "1", "hanging:app"]
    with server(tmp_path, dumps, port, "-m", "gunicorn", *arguments):
        until(lambda: b"Booting worker" in (tmp_path / "log").read_bytes())
        asking = threading.Thread(target=get, args=(port, "/"))
        asking.start()
        until(lambda: list(dumps.glob("worker-*-SIGABRT-*.dmp")))
        asking.join()


def test_service(tmp_path: Path) -> None:
    """The service of the recipe: a dump when it is asked for one, and when it crashes."""
    files("service.md", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DUMPS": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "service.py"], cwd=tmp_path, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR2)
        assert Path(process.stdout.readline().strip()).stat().st_size > 1000
        process.send_signal(signal.SIGSEGV)
        assert process.wait(30) == -signal.SIGSEGV
    assert len(list(tmp_path.glob("service.py-SIGSEGV-*.dmp")) + list(tmp_path.glob("service-SIGSEGV-*.dmp"))) == 1


def test_systemd_unit() -> None:
    """It has the shape of one, and starts the file of the page."""
    [text] = texts("service.md", "ini")
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert service["ExecStart"].endswith("/service.py")
    assert service["Environment"] == f"DUMPS=/var/lib/{service['StateDirectory']}"


class CrashServer(http.server.BaseHTTPRequestHandler):
    """Takes what Breakpad's clients send, and parses it by the rules of MIME."""

    def do_POST(self) -> None:
        """Keep the parts of the form by name."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = email.message_from_bytes(f"Content-Type: {self.headers['Content-Type']}\n\n".encode() + body)
        assert message.get_content_type() == "multipart/form-data"
        assert message.is_multipart()
        parts = {}
        for part in message.get_payload():
            assert part.get_content_disposition() == "form-data"
            parts[part.get_param("name", header="content-disposition")] = (
                part.get_filename(),
                part.get_payload(decode=True),
            )
        self.server.forms.append(parts)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"CrashID=bp-1")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def crash_server() -> Iterator[tuple[str, list[dict[str, tuple[str | None, bytes]]]]]:
    """Its URL, and the forms that it has been sent."""
    with http.server.HTTPServer(("127.0.0.1", 0), CrashServer) as listening:
        listening.forms = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=functools.partial(listening.serve_forever, poll_interval=0.02))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/submit", listening.forms  # type: ignore[attr-defined]
        listening.shutdown()
        thread.join()


def test_upload(tmp_path: Path, crash_server: tuple[str, list[dict[str, tuple[str | None, bytes]]]]) -> None:
    """The form has the bytes of the dump and the fields of the command."""
    url, forms = crash_server
    files("upload.md", tmp_path)
    dump = os.urandom(5000) + b"\r\n--\r\n"
    (tmp_path / "app.dmp").write_bytes(dump)
    lines = texts("upload.md", "sh norun")[0].splitlines()
    assert len(lines) == 2
    for line in lines:
        words = re.findall(r'"([^"]*)"|(\S+)', line)
        arguments = [quoted or plain for quoted, plain in words][2:]
        arguments[1] = url
        done = subprocess.run([sys.executable, "upload.py", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "CrashID=bp-1\n"), done.stderr
        form = forms.pop()
        name, content = form.pop("upload_file_minidump")
        assert (name, content) == ("app.dmp", dump)
        assert {key: value.decode() for key, (_, value) in form.items()} == dict(
            pair.split("=", 1) for pair in arguments[2:]
        )


def test_upload_when_a_program_crashes(
    tmp_path: Path, crash_server: tuple[str, list[dict[str, tuple[str | None, bytes]]]]
) -> None:
    """The command of `on_dump` sends the dump of the crash."""
    url, forms = crash_server
    files("upload.md", tmp_path)
    [program] = texts("upload.md", "python")
    crashing = program.replace("md.crash.disable()", "os.abort()")
    assert crashing != program
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DUMPS": str(tmp_path), "CRASH_SERVER": url}
    done = subprocess.run([sys.executable, "-c", crashing], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGABRT, done.stderr
    until(lambda: forms)
    name, content = forms[0]["upload_file_minidump"]
    [dump] = tmp_path.glob("*.dmp")
    assert (name, content) == (dump.name, dump.read_bytes())
    assert forms[0]["ProductName"] == (None, b"App")


def test_dask(tmp_path: Path) -> None:
    """Two dumps on a cluster of two processes, one file that is none."""
    files("dask.md", tmp_path)
    for name in ("a.dmp", "b.dmp"):
        md.write_dump(os.getppid(), tmp_path / name)
    (tmp_path / "none.dmp").write_bytes(b"nothing")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "filter_on_dask.py", "local", "small", "a.dmp", "b.dmp", "none.dmp"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["a.dmp", "b.dmp"]


def test_questions_have_the_words_of_the_errors() -> None:
    """Each refusal that csrc/linux/access.c can tell has its row, with the words of the message."""
    source = (ROOT / "csrc" / "linux" / "access.c").read_text("utf-8")
    source = re.sub(r'"\s*"', "", source[: source.index("slurp")]).replace("%d", "4711")
    page = (ROOT / "docs" / "faq.md").read_text("utf-8")
    rows = re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)
    assert len(rows) >= len(set(re.findall(r"MDC_ACCESS_\w+", source)) - {"MDC_ACCESS_UNKNOWN"})
    for row in rows:
        assert re.sub(r"[0-9]{4}", "4711", row) in source


def test_kubernetes_manifests() -> None:
    """Objects that have what their kind needs; mounts and volumes belong together."""
    for text in texts("containers.md", "yaml kubernetes"):
        for manifest in yaml.safe_load_all(text):
            assert manifest["apiVersion"] == {"Deployment": "apps/v1", "Pod": "v1"}[manifest["kind"]]
            assert re.fullmatch(r"[a-z0-9-]+", manifest["metadata"]["name"])
            spec = manifest["spec"]
            if manifest["kind"] == "Deployment":
                labels = spec["template"]["metadata"]["labels"]
                assert spec["selector"]["matchLabels"].items() <= labels.items()
                spec = spec["template"]["spec"]
            assert spec["shareProcessNamespace"] is True
            volumes = {volume["name"] for volume in spec["volumes"]}
            mounts = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())}
            assert mounts == volumes
            assert all(re.fullmatch(r"[\w./-]+:[\w.]+", container["image"]) for container in spec["containers"])
            if manifest["kind"] == "Pod":
                added = [
                    container.get("securityContext", {}).get("capabilities", {}).get("add", [])
                    for container in spec["containers"]
                ]
                assert any("SYS_PTRACE" in capabilities for capabilities in added)


def test_compose_file() -> None:
    [text] = texts("containers.md", "yaml compose")
    compose = yaml.safe_load(text)
    services = compose["services"]
    assert services["app"]["init"] is True
    collector = services["collector"]
    assert collector["pid"].removeprefix("service:") in services
    assert "SYS_PTRACE" in collector["cap_add"]
    named = {volume.split(":")[0] for service in services.values() for volume in service["volumes"]}
    assert named == set(compose["volumes"])


def test_dockerfile() -> None:
    """Instructions in an order that Docker takes, with an extra that there is and a file of a recipe."""
    [text] = texts("containers.md", "dockerfile")
    instructions = [line.split(" ", 1) for line in text.splitlines() if line]
    assert [word for word, _ in instructions] == ["FROM", "RUN", "COPY", "ENV", "VOLUME", "USER", "ENTRYPOINT"]
    about = dict(instructions)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert re.findall(r"minidump_cffi\[(\w+)\]", about["RUN"])[0] in extras
    name, target = about["COPY"].split()
    assert name in dict(FILE.findall((RECIPES / "service.md").read_text("utf-8")))
    entry = yaml.safe_load(about["ENTRYPOINT"])
    assert entry == ["python", target]
    assert about["ENV"] == f"DUMPS={about['VOLUME']}"
