"""Nothing in danlu needs a POSIX system to be imported, and every text file is read and written as UTF-8."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "danlu"
FILES = sorted(SOURCE.rglob("*.py"))
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
POSIX_NAMES = {  # attributes of `os` and `signal` that Windows lacks: to be asked for by getattr or hasattr
    "os": {"fork", "forkpty", "killpg", "setsid", "getuid", "geteuid", "getpgid", "sched_getaffinity", "statvfs", "uname",
           "mkfifo", "nice", "getloadavg", "chown"},
    "signal": {"SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP", "SIGALRM", "SIGPIPE", "SIGSTOP", "SIGCONT", "alarm",
               "setitimer"},
}  # fmt: skip

WITHOUT_POSIX = """
import signal, sys
import filelock, lightning_fabric, torch
for name in ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP"):
    delattr(signal, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import danlu.cli, danlu.training.train, danlu.doctor.watch
from danlu.engine import processes
from danlu.doctor.instruments import memory
assert processes.FORWARDED == signal.SIGTERM and processes.KILL == signal.SIGTERM
from pathlib import Path
opened = open
def missing(path, *args, **kwargs):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(path)
    return opened(path, *args, **kwargs)
memory.open = missing
assert memory.resident() == 0
"""


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def guarded_by_try(tree: ast.Module) -> set[ast.AST]:
    """Nodes within a `try`, or in a branch of `if sys.platform ...` or `if hasattr(...)`."""
    guards = (n for n in ast.walk(tree) if isinstance(n, ast.Try | ast.If | ast.IfExp))
    return {
        inner
        for guard in guards
        if isinstance(guard, ast.Try) or any(word in ast.unparse(guard.test) for word in ("sys.platform", "hasattr"))
        for inner in ast.walk(guard)
    }


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_posix_only_module_or_name(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = guarded_by_try(tree)
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in POSIX_NAMES.get(node.value.id, ()), f"line {node.lineno}: {ast.unparse(node)}"
            continue
        else:
            continue
        assert not names & POSIX_MODULES, f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_text_files_have_an_encoding(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            modes = [
                a.value for a in (*node.args[1:], *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)
            ]
            assert any("b" in str(mode) for mode in modes), f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "read_text":
            raise AssertionError(f"line {node.lineno}: {ast.unparse(node)}")


def test_danlu_can_be_imported_where_posix_names_are_missing() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
