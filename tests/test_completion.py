"""Shells complete what the parser knows; each script is tried in its own shell, where that is installed."""

import shutil
import subprocess

import pytest

from apps.cli import COMMANDS, build_parser, main
from apps.completion import SCRIPTS

ASK = {
    "bash": """
source "$1"
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_rewrite
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "fish": """
source $argv[1]
complete -C '{line}'
""",
}


@pytest.fixture
def completed(tmp_path, monkeypatch):
    """What a shell offers for a line that is being written."""

    def run(shell: str, line: str) -> set[str]:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        script = tmp_path / f"rewrite.{shell}"
        script.write_text(SCRIPTS[shell](build_parser()), encoding="utf-8")
        # A line that ends in a space asks for a new word.
        words = " ".join(f"'{word}'" for word in line.split(" "))
        asking = tmp_path / f"ask.{shell}"
        asking.write_text(ASK[shell].format(words=words, line=line), encoding="utf-8")
        done = subprocess.run([shell, asking, script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return {offered.partition("\t")[0] for offered in done.stdout.splitlines() if offered}

    return run


@pytest.mark.parametrize("shell", ASK)
def test_commands_are_completed(completed, shell):
    assert completed(shell, "rewrite so") == {"solve"}
    assert set(COMMANDS) <= completed(shell, "rewrite ")


@pytest.mark.parametrize("shell", ASK)
def test_options_of_a_command_are_completed_and_no_others(completed, shell):
    assert completed(shell, "rewrite measure --sa") == {"--samples"}
    assert "--seeds" not in completed(shell, "rewrite measure --")


@pytest.mark.parametrize("shell", ASK)
def test_choices_of_an_option_and_of_an_argument_are_completed(completed, shell):
    assert completed(shell, "rewrite export towers a.safetensors --as pe") == {"peft"}
    assert completed(shell, "rewrite completion z") == {"zsh"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_program_prints_a_script_that_its_shell_reads(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script, encoding="utf-8")
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_knows_the_completion_after_it_has_read_the_script(tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "script").write_text(SCRIPTS["zsh"](build_parser()), encoding="utf-8")
    ask = 'HOME="$2"; source "$1" && print -r -- "$_comps[rewrite]"'
    command = ["zsh", "-fc", ask, "zsh", tmp_path / "script", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "_rewrite" in done.stdout, done.stderr


def test_a_shell_that_is_not_known_is_refused(refusal):
    assert "'bash'" in refusal("completion", "tcsh")
