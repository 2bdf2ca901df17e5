#!/usr/bin/env python3
"""Whether plimsoll counts OOM kills and ends right on a real dockerd that is treated badly.

    tests/hostile/run.py target/release/plimsoll                       the scenarios of some minutes
    tests/hostile/run.py target/release/plimsoll --all                 the long ones, too
    tests/hostile/run.py target/release/plimsoll names --seed 7        one of them again
    tests/hostile/run.py --list

Each scenario has two plimsolls of its own side by side and is a line: PASS, FAIL, or KNOWN where what differs is a limit
that docs/configuration.md names (scenarios/__init__.py says which). Needs root, dockerd and a C compiler; cgroups of
version 1 or 2. What failed is kept, with --keep everything.
"""

import argparse
import itertools
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

from host import Docker
from scenarios import SCENARIOS
from stage import Stage
from truth import Events, KernelLog

COLOURS = {"PASS": 32, "KNOWN": 33, "FAIL": 31}


class Show:
    """What outlives a scenario."""

    def __init__(self, binary, folder):
        self.binary = pathlib.Path(binary).resolve()
        self.folder = folder
        # The kernel's log is the host's: others' containers are in it, too.
        self.token = f"h{os.getpid() % 0x10000:04x}"
        self.numbers = itertools.count(1)
        self.kernel_log = KernelLog(self.token)
        self.docker = Docker(folder)
        self.events = Events(self.docker.socket)

    def open(self):
        self.docker.start()
        self.docker.import_image(pathlib.Path(__file__).with_name("load.c"))

    def docker_for(self, scenario):
        if ("--live-restore" in self.docker.options) != scenario.live_restore:
            self.docker.die()
            self.docker.rest()
            self.docker.start(scenario.live_restore)

    def play(self, scenario, seed):
        """The stage after it, and why it did not come to its end, if so."""
        self.docker_for(scenario)
        stage = Stage(self, self.folder / scenario.name, seed)
        try:
            if scenario.warms_up:
                stage.warm_up()
            scenario.play(stage)
            stage.check()
            return stage, "the kernel's log has a gap" if self.kernel_log.has_gap else None
        except Exception:
            return stage, traceback.format_exc()
        finally:
            self.docker.recover()
            stage.save()
            stage.close()

    def close(self):
        self.docker.stop()


def verdict_of(scenario, stage, broken):
    """A verdict, and what is to be said of it."""
    different = [
        f"{found.interval_s}s {found.what} {found.container}/{found.label} {found.counted}, true {found.true}"
        for found in stage.found
    ]
    if broken:
        return "FAIL", [*different, broken.strip().splitlines()[-1]]
    if not different:
        return "PASS", []
    known = scenario.known
    if known and all(known.allows(stage, of_one(stage.found, member)) for member in stage.plimsolls.members):
        return "KNOWN", [*different, known.reason]
    return "FAIL", different


def of_one(found, member):
    return [difference for difference in found if difference.interval_s == member.interval_s]


def tell(verdict, scenario, seed, took_s, stage, said):
    shown = f"\033[{COLOURS[verdict]}m{verdict}\033[0m" if sys.stdout.isatty() else verdict
    kills = sum(stage.truth.kills().values())
    starts = sum(len(stage.truth.starts(container)) for container in stage.truth.containers.values())
    line = f"{shown} {scenario.name} seed={seed} {took_s:.0f} s, {kills} kills, {starts} starts"
    print("; ".join([line, *said]), flush=True)


def play_all(show, chosen, seed, keeps):
    failed = False
    for scenario in chosen:
        began = time.monotonic()
        stage, broken = show.play(scenario, seed)
        verdict, said = verdict_of(scenario, stage, broken)
        if broken:
            (stage.folder / "broken").write_text(broken)
        failed |= verdict == "FAIL"
        tell(verdict, scenario, seed, time.monotonic() - began, stage, said)
        if verdict == "PASS" and not keeps:
            shutil.rmtree(stage.folder)
    return failed


def parse():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", nargs="?")
    arguments.add_argument("scenarios", nargs="*", metavar="scenario")
    arguments.add_argument("--all", action="store_true", help="the long ones, too")
    arguments.add_argument("--seed", type=int, help="what a line of an earlier run said")
    arguments.add_argument("--keep", action="store_true", help="keep what passed, too")
    arguments.add_argument("--list", action="store_true", help="name the scenarios")
    given = arguments.parse_intermixed_args()
    named = {scenario.name: scenario for scenario in SCENARIOS}
    unknown = [name for name in given.scenarios if name not in named]
    if unknown or not (given.binary or given.list):
        arguments.error(f"no such scenario: {', '.join(unknown)}" if unknown else "which binary?")
    given.chosen = [named[name] for name in given.scenarios] or [one for one in SCENARIOS if given.all or not one.long]
    return given


def main():
    given = parse()
    if given.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name}{' (long)' if scenario.long else ''}: {scenario.play.__doc__.splitlines()[0]}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    seed = random.randrange(1 << 30) if given.seed is None else given.seed
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hostile-"))
    show = Show(given.binary, folder)
    try:
        show.open()
        failed = play_all(show, given.chosen, seed, given.keep)
    finally:
        show.close()
    for gone in ["data", "exec"]:
        shutil.rmtree(folder / gone, ignore_errors=True)
    if failed or given.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return int(failed)


sys.exit(main())
