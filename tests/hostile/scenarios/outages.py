"""Docker hangs or dies, alone or together with plimsoll."""

import time


def docker_hangs(stage):
    """dockerd is stopped while kills go on; plimsoll is killed meanwhile, or is not."""
    stage.run("children", "sleep:500 random:1300:3000 child loop")
    stage.run("loop", "random:1300:3000 eat:5", restart="always")
    stage.run("mixed", "random:1300:3000 child random:1500:5000 eat:5", restart="always")
    stage.run("once", "sleep:9000 eat")
    for hangs_s, is_restarted in [(2, False), (12, True)]:
        stage.pause(2, 6)
        stage.docker.hang()
        before_s = stage.random.uniform(0, hangs_s)
        stage.pause(before_s)
        if is_restarted:
            stage.plimsolls.restart()
        stage.pause(hangs_s - before_s)
        stage.docker.go_on()
    stage.pause(6)
    stage.stop("children", "loop", "mixed")


def load_that_is_restarted(stage):
    stage.create("by-hand", "random:1300:2500 eat:5")
    stage.run("children", "sleep:500 random:1300:3000 child loop", restart="always")
    stage.run("mixed", "random:1300:3000 child random:1500:4000 eat:5", restart="always")
    stage.run("slow", "sleep:11000 eat:20", restart="always")
    stage.run("still", "hang", restart="always")
    going = [True]

    def go_on():
        while going:
            stage.cycle("by-hand", stage.random.uniform(0.1, 1.5))

    join = stage.beside(go_on)

    def end():
        going.clear()
        join()
        stage.stop("children", "mixed", "slow", "still")

    return end


def docker_dies(stage):
    """dockerd is killed and comes back, while plimsoll lives."""
    end = load_that_is_restarted(stage)
    for _ in range(2):
        stage.pause(5, 9)
        stage.say("dockerd dies")
        stage.docker.die()
        stage.docker.rest()
        stage.docker.spawn()
    stage.pause(6)
    end()


def both_die(stage):
    """dockerd and plimsoll are killed, one before the other, and either comes back first."""
    end = load_that_is_restarted(stage)
    for is_plimsoll_first in [True, False]:
        stage.pause(5, 9)
        both_killed(stage, is_plimsoll_first)
        both_back(stage)
    stage.pause(6)
    end()


def both_killed(stage, is_plimsoll_first):
    stage.say("both die")
    began = time.time()
    if is_plimsoll_first:
        stage.plimsolls.die()
        stage.pause(0, 2)
        stage.docker.die()
    else:
        stage.docker.die()
        stage.pause(stage.random.choice([0, 0, 0.5, 2]))
        stage.plimsolls.die()
    # What Docker alone saw it has forgotten, too.
    stage.docker.deaths[-1][0] = began
    stage.docker.rest()


def both_back(stage):
    if stage.random.random() < 0.5:
        stage.plimsolls.start(waits=False)
        stage.pause(0, 2)
        stage.docker.spawn()
    else:
        stage.docker.spawn()
        stage.pause(0, 2)
        stage.plimsolls.start(waits=False)


def both_die_at_a_start(stage):
    """Both are killed so shortly after containers began that nobody has noted it."""
    for number, delay_s in enumerate([0.05, 1.0]):
        names = [f"{kind}-{number}" for kind in ["still", "ended", "killed"]]
        for name, words in zip(names, ["hang", "random:0:400 exit:3", "random:0:400 eat"]):
            stage.create(name, words, restart="unless-stopped")
        stage.beside(*[lambda name=name: stage.start(name) for name in names])()
        stage.pause(delay_s)
        both_killed(stage, is_plimsoll_first=False)
        both_back(stage)
        stage.pause(5)
        stage.stop(*names)


def docker_dies_and_restores(stage):
    """With --live-restore containers outlive dockerd, and are killed while it is dead."""
    stage.run("children", "sleep:500 random:1300:3000 child loop", restart="always")
    stage.run("threes", "sleep:500 children:3:0 random:1300:3000 loop")
    stage.run("slow", "sleep:7000 eat:20", restart="always")
    stage.run("still", "hang")
    for _ in range(3):
        stage.pause(1, 8)
        both_killed(stage, is_plimsoll_first=False)
        both_back(stage)
    stage.pause(6)
    stage.stop("children", "threes", "slow")
