"""Where a scenario plays: a Docker, two plimsolls, the containers it makes, and the comparison with the truth."""

import collections
import contextlib
import json
import pathlib
import random
import shutil
import threading
import time

from host import IMAGE, Refused
from programs import Pair
from truth import Container, Truth

# Kills that Docker alone told wait up to 15 s for a counter.
PATIENCE_S = 22
# A verdict is one if it is still true by then: nothing may be counted late and too often.
HOLDS_S = 3
# Both collectors have read everything once.
WARM_UP_S = 6

Difference = collections.namedtuple("Difference", "interval_s what container label counted true")


class Stage:
    def __init__(self, show, folder, seed):
        """`show` has what outlives a scenario: binary, docker, kernel log, events, token and the next container's number."""
        self.show = show
        self.docker = show.docker
        self.folder = folder
        self.random = random.Random(seed)
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        self.plimsolls = Pair(show.binary, folder, self.docker.socket)
        self.truth = Truth(show.kernel_log, show.events, self.marks)
        self.current = {}
        self.reasons = collections.Counter()
        self.found = []
        self.timeline = open(folder / "timeline", "w")

    def say(self, text):
        self.timeline.write(f"{time.time():.3f} {text}\n")
        self.timeline.flush()

    def warm_up(self):
        self.plimsolls.start()
        time.sleep(WARM_UP_S)

    # --- time -------------------------------------------------------------------------------------------------------

    def pause(self, low, high=None):
        time.sleep(low if high is None else self.random.uniform(low, high))

    def beside(self, *works):
        """Starts them, each on a thread of its own; what is given back waits for their end."""
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        return lambda: [thread.join() for thread in threads]

    # --- containers -------------------------------------------------------------------------------------------------

    def full(self, name):
        """A name of this scenario alone: at a first start plimsoll tells of ends that Docker's memory still holds."""
        return f"{self.folder.name}-{name}"

    def create(self, name, words, restart="no", memory_mib=16, parent="", removes_itself=False):
        number = next(self.show.numbers)
        limits = {"Memory": memory_mib << 20, "MemorySwap": memory_mib << 20, "CgroupParent": parent}
        policy, _, retries = restart.partition(":")
        host = {
            **limits,
            "NetworkMode": "none",
            "Binds": [f"{self.marks}:/marks"],
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
            "AutoRemove": removes_itself,
        }
        environment = [f"TOKEN={self.show.token}", f"NUMBER={number}"]
        body = {"Image": IMAGE, "Cmd": words.split(), "Env": environment, "HostConfig": host}
        full = self.full(name)
        self.say(f"create {full}")
        container = Container(number, self.docker.create(full, body), full)
        self.truth.containers[number] = container
        self.current[name] = container

    def run(self, name, words, **options):
        self.create(name, words, **options)
        self.start(name)

    def ask(self, method, path, body=None, timeout=30):
        self.say(f"{method} {path}")
        return self.docker.ask(method, path, body, timeout)

    def act(self, name, what, timeout=30):
        return self.ask("POST", f"/containers/{self.current[name].id}/{what}", timeout=timeout)

    def start(self, name):
        self.act(name, "start")

    def wait(self, name, timeout=30):
        self.act(name, "wait", timeout)

    def cycle(self, name, pause_s=0.0):
        """One run, from its start to its end; a Docker that is away has none."""
        with contextlib.suppress(Refused):
            self.start(name)
            self.wait(name)
        time.sleep(pause_s)

    def stop(self, *names):
        self.beside(*[lambda name=name: self.act(name, "stop?t=1") for name in names])()

    def signal(self, name, signal):
        self.act(name, f"kill?signal={signal}")

    def remove(self, name):
        self.ask("DELETE", f"/containers/{self.current.pop(name).id}?force=1")

    def rename(self, name, new):
        container = self.current.pop(name)
        self.ask("POST", f"/containers/{container.id}/rename?name={self.full(new)}")
        self.current[new] = container

    def goes_by(self, name):
        """From now on this container's kills are its present name's."""
        self.current[name].names.append((time.time(), self.full(name)))

    def execute(self, name, words):
        """Beside the first process."""
        body = {"Cmd": ["/load", *words.split()], "Env": []}
        made = self.ask("POST", f"/containers/{self.current[name].id}/exec", body)
        self.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    # --- verdict ----------------------------------------------------------------------------------------------------

    def count_from_now(self):
        """What was before is nobody's."""
        self.truth.since = time.time()

    def ended(self, name, reason):
        """An end whose reason is known."""
        self.reasons[self.full(name), reason] += 1

    def check(self):
        """Compares until all is right, and again some seconds later; gives up after a while and keeps what differs."""
        for member in self.plimsolls.members:
            member.wait_until_it_hears_docker()
        until = time.monotonic() + PATIENCE_S
        while self.differences() and time.monotonic() < until:
            time.sleep(1)
        time.sleep(HOLDS_S)
        self.found += self.differences()

    def differences(self):
        running = {container["Id"] for container in self.docker.ask("GET", "/containers/json")}
        return [different for member in self.plimsolls.members for different in self.differences_of(member, running)]

    def differences_of(self, member, running):
        names = {name for container in self.truth.containers.values() for _, name in container.names}
        counted, true = member.kills(), self.truth.kills()
        for key, count in self.truth.unsure(member.interval_s).items():
            true[key] = min(max(counted[key], true[key] - count), true[key])
        pairs = [("kills", key, counted[key], true[key]) for key in {*counted, *true} if key[0] in names]
        ends, true_ends = member.ends(), self.truth.ends(running)
        for name in names:
            sum_of_ends = sum(count for (container, _), count in ends.items() if container == name)
            if name not in self.truth.unjudged:
                pairs.append(("ends", (name, "any"), sum_of_ends, true_ends[name]))
        known = {name for name, _ in self.reasons}
        reasons = [key for key in {*ends, *self.reasons} if key[0] in known]
        pairs += [("ends", key, ends[key], self.reasons[key]) for key in reasons]
        return [Difference(member.interval_s, what, *key, is_, should) for what, key, is_, should in pairs if is_ != should]

    # --- evidence ---------------------------------------------------------------------------------------------------

    def save(self):
        """What explains a difference, beside the marks, journals and logs that are there already."""
        for member in self.plimsolls.members:
            (member.folder / "page").write_text(member.page("/metrics/containers"))
            (member.folder / "metrics").write_text(member.page("/metrics"))
        own = {container.id: container for container in self.truth.containers.values()}
        events = [event for event in self.show.events.heard if event.id in own]
        lines = [f"{event.at:.3f} {event.action} {own[event.id].number} {event.id[:12]} {event.text}" for event in events]
        kills = [f"{kill.at:.3f} KILL {kill.number} {kill.scope}" for kill in self.truth.own_kills()]
        (self.folder / "events").write_text("\n".join(sorted([*lines, *kills])) + "\n")
        numbers = {container.number: [container.id, container.names] for container in own.values()}
        (self.folder / "containers.json").write_text(json.dumps(numbers, indent=1))
        shutil.copy(pathlib.Path(self.docker.folder, "docker.log"), self.folder)

    def close(self):
        self.plimsolls.stop()
        with contextlib.suppress(Refused):
            self.docker.remove_containers()
        self.timeline.close()
