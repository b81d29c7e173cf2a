"""A share of the fuzzer's files; `python tests/fuzz_files.py` runs all."""

import subprocess
import sys
from pathlib import Path

import pytest

import fuzz_files

FILES = 1_500


@pytest.mark.slow
def test_mutated_files_are_loaded_or_refused() -> None:
    script = Path(fuzz_files.__file__)
    command = [sys.executable, str(script), "--files", str(FILES), "--seconds", "inf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)  # the seed, and what was raised
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {line[9:]: int(line[:8].replace(",", "")) for line in done.stdout.splitlines()[1:-1]}
    assert sum(counts.values()) == FILES
    assert counts["refused"] > FILES // 2
    assert counts["loaded and evaluated"] > FILES // 100


def test_the_fuzzer_reports_what_is_no_refusal(monkeypatch, capsys) -> None:
    works = fuzz_files.outcome

    def broken(path):
        if path.name.startswith("mutated"):
            raise KeyError("widths")
        return works(path)

    monkeypatch.setattr(fuzz_files, "outcome", broken)
    assert fuzz_files.main(["--files", "3"]) == 1
    told = capsys.readouterr().out
    assert "KeyError: 'widths'" in told
    assert "3 RAISED" in told
