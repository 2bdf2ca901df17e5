"""plimsoll is killed and started again; Docker is well."""

import signal


def restarts_among_kills(stage):
    """Killed at any moment among loops and children's kills, back at once or late."""
    stage.run("slow", "sleep:11000 eat:20", restart="always")
    stage.run("children", "sleep:500 random:1300:3000 child loop")
    stage.run("threes", "sleep:500 children:3:0 random:3000:9000 loop")
    stage.run("still", "hang")
    loops = ["loop", "mixed"]
    stage.create("loop", "random:100:1500 eat")
    stage.create("mixed", "random:0:3000 child random:0:4000 eat")
    going = [True]

    def go_on(name):
        while going:
            stage.cycle(name, stage.random.uniform(0.05, 1.5))

    join = stage.beside(*[lambda name=name: go_on(name) for name in loops])
    for _ in range(5):
        stage.pause(0.5, 6)
        stage.plimsolls.restart(stage.random.choice([0, 0.05, 0.3, 1, 3]))
    going.clear()
    join()
    stage.stop("slow", "children", "threes")


def restarts_around_starts(stage):
    """Containers are started, killed and started again within a second of plimsoll's restart."""
    for number in range(4):
        names = [f"{kind}-{number}" for kind in ["first", "both", "children"]]
        works = ["random:0:400 eat", "random:0:400 child random:0:400 eat", "random:0:300 children:2:50 random:100:800 eat"]
        for name, words in zip(names, works):
            stage.create(name, words)
        if stage.random.random() < 0.5:
            stage.beside(*[lambda name=name: stage.cycle(name) for name in names])()
            stage.pause(0, 2)
        join = stage.beside(*[lambda name=name: some_cycles(stage, name) for name in names])
        stage.pause(0.7, 1.3)
        stage.plimsolls.restart(stage.random.choice([0, 0, 0.2, 0.7]))
        if stage.random.random() < 0.3:
            stage.pause(0, 1)
            stage.plimsolls.restart()
        join()


def some_cycles(stage, name):
    stage.pause(0, 2)
    for _ in range(stage.random.randint(1, 3)):
        stage.cycle(name, stage.random.uniform(0, 0.3))


def restarts_in_a_row(stage):
    """Kills of before the first start are nobody's, and no restart counts anything anew."""
    stage.plimsolls.die()
    stage.plimsolls.forget()
    stage.run("old", "children:3:300 hang")
    stage.run("old-loop", "sleep:300 eat")
    # docs/api.md: a first start may tell of ends that Docker's memory of events still holds.
    stage.truth.unjudged.add(stage.full("old-loop"))
    stage.pause(4)
    stage.count_from_now()
    stage.plimsolls.start()
    stage.run("four", "sleep:500 children:4:700 hang")
    stage.run("loop", "sleep:9000 eat", restart="always")
    stage.run("fives", "sleep:700 children:5:0 sleep:8000 loop")
    stage.pause(6)
    for up_s in [0.3, 0.3, 3, 0.3, 8, 0.3, 0.3]:
        stage.plimsolls.restart()
        stage.pause(up_s)
    stage.execute("old", "child")
    stage.pause(3)
    stage.plimsolls.restart(waits=True)
    stage.stop("loop", "fives")


def first_start(stage):
    """plimsoll's first start shortly after kills and ends, which are nobody's; it is killed in its first seconds."""
    for number, (before_s, after_s) in enumerate([(2, 1.0), (6, 4.0)]):
        stage.run(f"old-{number}", "children:2:1000 hang")
        stage.create(f"old-kill-{number}", "sleep:300 eat")
        stage.create(f"old-end-{number}", "sleep:200 exit:3")
        # docs/api.md: a first start may tell of ends that Docker's memory of events still holds.
        stage.truth.unjudged |= {stage.full(f"old-kill-{number}"), stage.full(f"old-end-{number}")}
        stage.beside(*[lambda name=name: stage.cycle(f"{name}-{number}") for name in ["old-kill", "old-end"]])()
        stage.pause(before_s)
        stage.count_from_now()
        stage.plimsolls.start()
        stage.run(f"end-{number}", "exit:3")
        stage.run(f"kill-{number}", "sleep:100 eat")
        stage.wait(f"kill-{number}")
        stage.pause(after_s)
        stage.plimsolls.restart(waits=True)
        stage.pause(6)
        stage.check()
        if number == 0:
            stage.plimsolls.die()
            stage.plimsolls.forget()


def away(stage):
    """plimsoll is stopped and then gone, while fifteen containers come and go under one name."""
    stage.run("many", "obey")
    stage.run("still", "hang")
    stage.pause(3)
    stage.plimsolls.send(signal.SIGSTOP)
    incarnations(stage, 15)
    stage.execute("many", "children:20:0")
    stage.pause(2)
    stage.plimsolls.send(signal.SIGCONT)
    stage.pause(3)
    stage.plimsolls.die()
    incarnations(stage, 15)
    stage.execute("many", "children:20:0")
    stage.execute("still", "children:3:0")
    stage.run("incarnated", "hang")
    stage.pause(2)
    stage.plimsolls.start()
    stage.execute("many", "children:3:200")


def incarnations(stage, count):
    for _ in range(count):
        stage.run("incarnated", "sleep:100 eat")
        stage.wait("incarnated")
        stage.remove("incarnated")
