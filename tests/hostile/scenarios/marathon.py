"""All of it at once, for some minutes."""

import contextlib
import random
import signal

from host import Refused

SECONDS = 240
SIGNALS = {"kill the first process": "USR1", "crash": "USR2", "exit": "HUP", "kill": "KILL", "terminate": "TERM"}
ACTIONS = ["start", "start", "start", "child", "child", "children", "together", "stop", "restart", "pause", "update"]
ACTIONS += ["make anew", "child and first", *SIGNALS]


def marathon(stage):
    """Eight containers to which anything happens, while plimsoll is killed, stopped, and dockerd hangs."""
    names = [f"any-{number}" for number in range(8)]
    for name in names:
        make(stage, stage.random, name)
    going = [True]

    def go_on(name, chance):
        while going:
            with contextlib.suppress(Refused):
                act(stage, chance, name, chance.choice(ACTIONS))
            stage.pause(chance.uniform(0.3, 6))

    chances = [random.Random(stage.random.random()) for _ in names]
    join = stage.beside(*[lambda given=given: go_on(*given) for given in zip(names, chances)])
    left = SECONDS
    while left > 0:
        pause = stage.random.uniform(3, 25)
        stage.pause(pause)
        left -= pause
        disturb(stage)
    going.clear()
    join()
    stage.stop(*names)


def make(stage, chance, name):
    stage.run(name, "obey", restart=chance.choice(["no", "no", "always", "on-failure:5"]))


def act(stage, chance, name, action):
    stage.say(f"{action}: {name}")
    if action == "start":
        stage.start(name)
    elif action in SIGNALS:
        stage.signal(name, SIGNALS[action])
    elif action == "child":
        stage.execute(name, "child")
    elif action == "children":
        stage.execute(name, f"children:{chance.randint(2, 6)}:{chance.choice([0, 50, 300])}")
    elif action == "together":
        stage.execute(name, "together:2")
    elif action == "child and first":
        stage.execute(name, "child")
        stage.pause(chance.uniform(0, 1.5))
        stage.signal(name, "USR1")
    elif action == "make anew":
        stage.remove(name)
        make(stage, chance, name)
    elif action == "update":
        limit = chance.choice([12, 16, 24]) << 20
        stage.ask("POST", f"/containers/{stage.current[name].id}/update", {"Memory": limit, "MemorySwap": limit})
    elif action == "pause":
        stage.act(name, "pause")
        stage.pause(chance.uniform(0.2, 3))
        stage.act(name, "unpause")
    else:
        stage.act(name, f"{action}?t=2")


def disturb(stage):
    what = stage.random.choice(["restart", "restart", "restarts", "docker", "plimsoll"])
    stage.say(f"disturb: {what}")
    if what == "docker":
        stage.docker.hang()
        stage.pause(0.5, 9)
        stage.docker.go_on()
    elif what == "plimsoll":
        stage.plimsolls.send(signal.SIGSTOP)
        stage.pause(1, 12)
        stage.plimsolls.send(signal.SIGCONT)
    else:
        for _ in range(3 if what == "restarts" else 1):
            stage.plimsolls.restart(stage.random.choice([0, 0.3, 2]))
            stage.pause(0.3, 3)
