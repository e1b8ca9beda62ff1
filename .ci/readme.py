"""What the README promises: its test command, and that its Python runs.

``test-command`` prints the shell line of the README that runs the tests. ``check`` runs the README's Python examples,
in order and in one namespace, in an empty folder against a process started for that: ``pid`` is its number.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> list[tuple[int, str]]:
    """Line number and text of the README's fenced blocks in these languages."""
    text = (ROOT / "README.md").read_text("utf-8")
    return [(text.count("\n", 0, m.start(2)) + 1, m[2]) for m in FENCE.finditer(text) if m[1] in languages]


def test_command() -> int:
    """Print the first shell line that runs pytest."""
    for _, block in blocks("sh", "bash", "console", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            if "pytest" in line:
                print(line.removeprefix("$ ").strip())
                return 0
    print("README.md has no shell line with pytest", file=sys.stderr)
    return 1


def check() -> int:
    """Run the Python blocks."""
    found = blocks("python")
    if not found:
        print("README.md has no Python example", file=sys.stderr)
        return 1
    sys.path.insert(0, str(ROOT))
    program = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"
    target = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert target.stdout is not None
        target.stdout.readline()
        namespace = {"__name__": "readme", "pid": target.pid, "process": target}
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for line, text in found:
                print(f"README.md:{line}: {len(text.splitlines())} lines of Python")
                code = compile("\n" * (line - 1) + text, str(ROOT / "README.md"), "exec")
                exec(code, namespace)  # the README is ours
            os.chdir(ROOT)
    finally:
        target.kill()
        target.wait()
    return 0


if __name__ == "__main__":
    sys.exit({"test-command": test_command, "check": check}[sys.argv[1]]())
