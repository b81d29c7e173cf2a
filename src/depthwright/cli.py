"""`depthwright`: one comparison, or with --multirun a sweep of them.

Help answers at once: what reads configs is imported by what needs it, and torch, Lightning and W&B,
which take seconds, only where the config is known to be sound.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence

from depthwright import __version__
from depthwright.machine import environment
from depthwright.runs import options

COMMANDS = {
    "twin": ("runs.twin", "twin"),
    "watch": ("runs.watch", "watch"),
    "table": ("runs.table", "table"),
    "report": ("published", "report"),
    "explore": ("explore", "explore"),
}
"""What is no run: a word, and the function that takes the words after it."""
AGAIN = "; run the same command again to go on"
_HELP = """\
depthwright: theorems about ReLU networks, as networks that run, measured against trained ones.

  depthwright                                                      one comparison
  depthwright target=hat target.input_dim=3 accuracy=0.05          another
  depthwright --multirun target.input_dim=2,3,5 accuracy=0.3,0.15  a sweep
  depthwright --multirun launcher=joblib …                         its cells beside each other
  depthwright watch [FOLDER]                                       how far a sweep is
  depthwright twin model.onnx --accuracy 1e-2 -o twin.jsonl.gz     the narrow twin of your network
  depthwright table [FOLDER] [--csv FILE]                          the rows of a sweep
  depthwright report                                               all figures, from published rows
  depthwright explore                                              an app: what must depth 2 pay?
  depthwright experiment=NAME                                      a prepared one

Choose one of each group (GROUP=OPTION), override any key (KEY=VALUE):
"""


def _help() -> str:
    """What can be said without composing a config: groups, options, keys of the top level."""
    groups = {name: ", ".join(found) for name, found in options.groups().items()}
    keys = [f.name for f in dataclasses.fields(options.RunConfig) if f.name not in groups]
    lines = [f"  {group:13} {names}" for group, names in groups.items()]
    return _HELP + "\n".join(
        [
            *lines,
            f"  keys          {', '.join(keys)}",
            "",
            "depthwright --cfg job      the whole config, to see every key and its value",
            "depthwright --hydra-help   Hydra's own flags",
            "depthwright --version      this package's version",
        ]
    )


def main() -> None:
    """The command `depthwright`."""
    environment.prepare()
    given = sys.argv[1:]
    if {"-h", "--help"} & set(given) and given[0] != "twin":  # which has a help of its own
        print(_help())
    elif "--version" in given:
        print(f"depthwright {__version__}")
    elif given[:1] and given[0] in COMMANDS:
        module, name = COMMANDS[given[0]]
        command = getattr(importlib.import_module(f"depthwright.{module}"), name)
        guard(lambda: command(given[1:]), cure="")
    else:
        guard(lambda: _start(given))


def _start(arguments: Sequence[str]) -> None:
    from depthwright.runs.command import start

    start(arguments)


def guard(action: Callable[[], object], cure: str = AGAIN) -> None:
    """Run it; what is the user's to mend is told in one sentence, and the exit status is not 0."""
    environment.prepare()
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        action()
    except KeyboardInterrupt:
        print(f"depthwright: interrupted{cure}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from depthwright.runs.command import for_the_user, refuse
        from depthwright.runs.store import Incomplete

        if isinstance(error, Incomplete):
            sys.exit(1)  # the sweep has said what is missing
        if not for_the_user(error):
            raise
        refuse(error)


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)
