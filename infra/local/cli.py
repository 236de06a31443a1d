"""Everything that is typed as `millrace COMMAND`; ``bin/millrace`` runs this module in the environment ``tools``.

Exit codes are those of ``contracts/errors.py``; `status` and `doctor` answer 1 when something is not well.
"""

import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from contracts.arguments import count, positive
from contracts.errors import ConfigurationError, ExitCode, PlatformError
from contracts.settings import Settings, load_settings
from infra.local import applications, demo, doctor, hpc, report, runs, stack
from infra.local.places import Places

_INTERRUPTED = 130

_EPILOG = """\
Commands of the platform's own programs (their --help says more):
{modules}
  submit               spark-submit an application with the project's settings
  {shortcuts}
                       the same for these applications: millrace validate ... is millrace submit validate ...

First time: bin/millrace setup. Then: bin/millrace demo.
"""


def say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str]) -> int:
    """Run one command and return its exit code; a deliberate error is one message, never a traceback."""
    try:
        return _dispatch(argv)
    except PlatformError as error:
        print(f"millrace: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("millrace: stopped by Ctrl-C; what runs in the background goes on", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def places_of(settings: Settings) -> Places:
    """With absolute roots: services run in another folder than the person who types."""
    absolute = {"state": settings.state.expanduser().resolve(), "toolchain": settings.toolchain.expanduser().resolve()}
    return Places(settings.model_copy(update=absolute))


def _dispatch(argv: list[str]) -> int:
    for name, (module, _) in applications.MODULES.items():
        words = name.split()
        if argv[: len(words)] == words:
            return applications.run_module(places_of(load_settings()), module, argv[len(words) :])
    if argv[:1] == ["submit"]:
        return applications.submit(places_of(load_settings()), argv[1:])
    if argv and argv[0] in applications.SHORTCUTS:
        return applications.submit(places_of(load_settings()), [applications.SHORTCUTS[argv[0]], *argv[1:]])
    parser, own = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in own:
        raise _no_such_command(argv, sorted([*own, *applications.MODULES, "submit", *applications.SHORTCUTS]))
    args = parser.parse_args(argv)
    act: Callable[[Places, Namespace], int] = args.act
    return act(places_of(load_settings()), args)


def _no_such_command(argv: list[str], known: list[str]) -> ConfigurationError:
    asked = " ".join(argv[:2]) if argv[0] == "stream" else argv[0]
    near = get_close_matches(asked, known, n=1)
    return ConfigurationError(
        f"Running millrace {asked}", found="no such command", required=f"one of {', '.join(known)}",
        next_step=f"Did you mean `millrace {near[0]}`?" if near else "See `millrace --help`.",
    )  # fmt: skip


def _parser() -> tuple[ArgumentParser, list[str]]:
    """The parser of this program's own commands, and their names."""
    modules = "\n".join(f"  {name:<20} {about}" for name, (_, about) in applications.MODULES.items())
    parser = ArgumentParser(
        prog="millrace", description="Live web logs become validated tables and retrained models.", allow_abbrev=False,
        epilog=_EPILOG.format(modules=modules, shortcuts=", ".join(applications.SHORTCUTS)),
        formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act: Callable[[Places, Namespace], int], about: str) -> ArgumentParser:
        added: ArgumentParser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.set_defaults(act=act)
        return added

    command("setup", _set_up, "install what is missing, locked; quick when nothing is")
    up = command("up", _up, "start the stack and wait until it is healthy")
    up.add_argument("services", nargs="*", metavar="SERVICE", help="only these and what they need (default: all)")
    up.add_argument("--timeout", type=positive, default=300, metavar="S", help="give up after S seconds (default: 300)")
    up.add_argument("--hpc", action="store_true", help="also the Slurm lab: two nodes, reached over SSH")
    up.add_argument("--sacct", action="store_true", help="with --hpc: also Slurm's accounting database, for sacct")
    command("down", _down, "stop every process of the stack")
    restart = command("restart", _restart, "stop one service and start it again")
    restart.add_argument("service", metavar="SERVICE")
    restart.add_argument(
        "--timeout", type=positive, default=120, metavar="S", help="give up after S seconds (default: 120)"
    )
    status = command("status", _status, "every service with state, health, port, memory and restarts")
    status.add_argument("--json", action="store_true", help="one JSON object")
    logs = command("logs", _logs, "the last lines of a service's log")
    logs.add_argument("service", metavar="SERVICE", nargs="?", help="without it: the logs there are")
    logs.add_argument("-n", "--lines", type=count, default=50, metavar="N", help="so many lines (default: 50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the log grows, until Ctrl-C")
    command("doctor", _doctor, "find out what is wrong and what to do about it")
    command("demo", _demo, "the main job on the shipped sample, end to end")
    trigger = command("trigger", _trigger, "start a run of a DAG")
    trigger.add_argument("dag", metavar="DAG")
    trigger.add_argument("--conf", type=_json_object, default={}, metavar="JSON", help="parameters, as one JSON object")
    trigger.add_argument("--wait", action="store_true", help="wait until the run is over; exit code 4 when it fails")
    trigger.add_argument("--timeout", type=positive, default=3600, metavar="S", help="with --wait: at most S seconds")
    listed = command("runs", _runs, "the newest runs of a DAG")
    listed.add_argument("dag", metavar="DAG")
    listed.add_argument("-n", "--limit", type=count, default=10, metavar="N", help="so many runs (default: 10)")
    listed.add_argument("--json", action="store_true", help="a JSON list")
    return parser, list(commands.choices)


def _set_up(_places: Places, _args: Namespace) -> int:
    raise AssertionError("bin/millrace runs set-up itself, before there is an environment")


def _up(places: Places, args: Namespace) -> int:
    if args.sacct and not args.hpc:
        raise ConfigurationError(
            "Starting the stack", found="--sacct without --hpc", required="both, or neither",
            next_step="Run: bin/millrace up --hpc --sacct",
        )  # fmt: skip
    lab = hpc.lab(places.settings, "dbd" if args.sacct else None) if args.hpc else None
    stack.up(places, args.services, args.timeout, say, lab)
    say(report.addresses(places, stack.status(places)))
    return ExitCode.DONE


def _down(places: Places, _args: Namespace) -> int:
    stack.down(places, say)
    return ExitCode.DONE


def _restart(places: Places, args: Namespace) -> int:
    stack.restart(places, args.service, args.timeout, say)
    return ExitCode.DONE


def _status(places: Places, args: Namespace) -> int:
    found = stack.status(places)
    say(found.to_json() if args.json else report.status_table(places, found))
    return 0 if found.state == "healthy" else 1


def _logs(places: Places, args: Namespace) -> int:
    known = {path.stem: path for path in sorted(places.logs.glob("*.log"))} | hpc.logs(places.settings)
    if args.service not in known:
        if args.service is None and known:
            say("\n".join(known))
            return ExitCode.DONE
        raise ConfigurationError(
            "Showing a log",
            found=f"no log of {args.service}" if known else f"no logs in {places.logs}",
            required=f"one of {', '.join(known)}" if known else "a stack that was started",
            next_step="Correct the name." if known else "Run: bin/millrace up",
        )
    follow = ["-F"] if args.follow else []
    sys.stdout.flush()
    log = known[args.service]
    return os.execvp("tail", ["tail", "-n", str(args.lines), *follow, str(log)])  # noqa: S606 - no shell wanted


def _doctor(places: Places, _args: Namespace) -> int:
    problems = 0
    for finding in doctor.examine(places):
        say(str(finding))
        problems += bool(finding.problem)
    say(f"{problems} problems" if problems else "no problems")
    return 1 if problems else 0


def _demo(places: Places, _args: Namespace) -> int:
    demo.run(places, say)
    return ExitCode.DONE


def _trigger(places: Places, args: Namespace) -> int:
    api = runs.connect(places)
    run_id = runs.trigger(api, args.dag, args.conf, say)
    if args.wait:
        runs.wait(api, args.dag, run_id, args.timeout, say)
    return ExitCode.DONE


def _runs(places: Places, args: Namespace) -> int:
    runs.show(runs.table(runs.connect(places), args.dag, args.limit), as_json=args.json, say=say)
    return ExitCode.DONE


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f'{text} is not a JSON object such as {{"force": true}}')
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
