"""What really happened: kills as the kernel logs them, starts as the containers mark them, events as Docker tells them."""

import collections
import contextlib
import itertools
import json
import os
import re
import select
import threading
import time

from host import Refused, UnixConnection

Kill = collections.namedtuple("Kill", "at number scope")
Event = collections.namedtuple("Event", "at action id text")
# Docker's words within a second are one kill; what is a little further apart may reach it within a second.
QUICK_S = 1.12
# A reading that is due is late by no more.
READ_S = 3
# Docker tells of a signal that it has sent so long afterwards at most.
SENT_S = 0.1


class KernelLog(threading.Thread):
    """The OOM kills of processes whose name begins with our token."""

    def __init__(self, token):
        super().__init__(daemon=True)
        self.kills = []
        self.has_gap = False
        self.pattern = re.compile(rf"Killed process \d+ \({token}([pc])(\d+)\)")
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)
        self.start()

    def run(self):
        while True:
            select.select([self.file], [], [])
            try:
                record = os.read(self.file, 8192).decode(errors="replace")
            except BrokenPipeError:
                self.has_gap = True
                continue
            found = self.pattern.search(record)
            if found:
                self.kills.append(Kill(time.time(), int(found[2]), "pid1" if found[1] == "p" else "child"))


class Events(threading.Thread):
    """Docker's events of containers, each once, whoever of its daemons told it."""

    def __init__(self, socket):
        super().__init__(daemon=True)
        self.socket = socket
        self.heard = []
        self.known = set()
        self.began = time.time()
        self.start()

    def run(self):
        while True:
            with contextlib.suppress(OSError, Refused):
                self.listen()
            time.sleep(0.1)

    def listen(self):
        connection = UnixConnection(self.socket, None)
        connection.connect()
        connection.sock.sendall(f"GET /events?since={self.began:.3f} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        with connection.sock.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"{"):
                    self.hear(json.loads(line))

    def hear(self, event):
        key = (event.get("timeNano"), event.get("Action"), event.get("Actor", {}).get("ID"))
        if event.get("Type") != "container" or key in self.known:
            return
        self.known.add(key)
        at = event["timeNano"] / 1e9
        told = event["Actor"]["Attributes"]
        text = f"{told.get('name')} exit={told.get('exitCode')} signal={told.get('signal')}"
        self.heard.append(Event(at, event["Action"].split(":")[0], event["Actor"]["ID"], text))


class Container:
    """One incarnation: its number, Docker's id of it, and what it was called from when on."""

    def __init__(self, number, id, name):
        self.number = number
        self.id = id
        self.names = [(0.0, name)]

    def name_at(self, at):
        return [name for since, name in self.names if since <= at][-1]


class Truth:
    """What plimsoll is to say of the containers of one scenario."""

    def __init__(self, kernel_log, events, marks):
        self.kernel_log = kernel_log
        self.events = events
        self.marks = marks
        self.containers = {}
        self.since = 0.0
        self.unjudged = set()

    def starts(self, container):
        with contextlib.suppress(FileNotFoundError):
            return [float(line) for line in (self.marks / str(container.number)).read_text().split()]
        return []

    def own_kills(self):
        return [kill for kill in self.kernel_log.kills if kill.number in self.containers]

    def kills(self):
        """By name and scope."""
        found = collections.Counter()
        for kill in self.own_kills():
            if kill.at >= self.since:
                found[self.containers[kill.number].name_at(kill.at), kill.scope] += 1
        return found

    def ends(self, running):
        """By name: every start but the last of a container that runs has come to an end."""
        found = collections.Counter()
        for container in self.containers.values():
            starts = self.starts(container)
            for start in starts[:-1] if container.id in running else starts:
                end = self.end_of_run(container, start)
                if end >= self.since:
                    found[container.name_at(end)] += 1
        return found

    def near(self, deaths):
        """What happened while Docker was dead, or a second before or after: kills by name and scope, ends by name."""
        found = collections.Counter()

        def is_near(at):
            return any(begin - 1 < at < end + 1 for begin, end in deaths)

        for kill in self.own_kills():
            found["kills", self.containers[kill.number].name_at(kill.at), kill.scope] += is_near(kill.at)
        for container in self.containers.values():
            for end in [self.end_of_run(container, start) for start in self.starts(container)]:
                found["ends", container.name_at(end), "any"] += is_near(end)
        return found

    def unsure(self, interval_s):
        """Kills that may be missing, as the documentation says, by name and scope.

        They are those that Docker told nothing of, or with one word that it used for the next one of the run, too, where
        the run came to its end before the kernel's count was surely read; and those of a container that is being killed by
        hand just then.
        """
        found = collections.Counter()
        for container in self.containers.values():
            kills = sorted(kill for kill in self.own_kills() if kill.number == container.number)
            for kill, later in itertools.zip_longest(kills, kills[1:]):
                end = self.end_of_run(container, kill.at)
                shares = kill.scope == "child" and later and later.at <= min(kill.at + QUICK_S, end)
                last = later.at if shares else kill.at
                is_unsure = (shares or not self.is_told(container, kill.at, end)) and end < last + 2 * interval_s + READ_S
                if is_unsure or self.is_killed_by_hand(container, kill.at):
                    found[container.name_at(kill.at), kill.scope] += 1
        return found

    def quick(self):
        """By name, children's kills of which Docker told with the next one's."""
        found = collections.Counter()
        for container in self.containers.values():
            kills = sorted(kill for kill in self.own_kills() if kill.number == container.number)
            for kill, later in itertools.pairwise(kills):
                found[container.name_at(kill.at)] += kill.scope == "child" and later.at <= kill.at + QUICK_S
        return found

    def told(self, container, action):
        return [event.at for event in self.events.heard if (event.action, event.id) == (action, container.id)]

    def is_told(self, container, at, end):
        """Whether Docker had a word in this run; it may tell of the end first."""
        starts = self.starts(container)
        begin = max((start for start in starts if start < at), default=at)
        until = min([end + QUICK_S, *[start for start in starts if start > at]])
        return any(begin < word < until for word in self.told(container, "oom"))

    def is_killed_by_hand(self, container, at):
        """Whether Docker had sent a SIGKILL, and had not seen yet what that did."""
        words = [event for event in self.events.heard if event.id == container.id]
        sent = [event.at for event in words if event.action == "kill" and event.text.endswith("signal=9")]
        return any(by_hand - SENT_S < at < self.end_of_run(container, by_hand) for by_hand in sent)

    def end_of_run(self, container, at):
        """When Docker had seen to it, or the next run began."""
        ends = [*self.told(container, "die"), *self.starts(container)]
        return min([end for end in ends if end > at], default=float("inf"))
