"""Names that move from one container to another, and containers that hardly live."""

import contextlib

from host import Refused


def renamed(stage):
    """A container goes by its first name until another one comes under it."""
    stage.run("first", "hang")
    stage.pause(2)
    kill_children(stage, "first", 1)
    stage.rename("first", "second")
    perhaps_restart(stage)
    kill_children(stage, "second", 2)
    perhaps_restart(stage)
    stage.run("first", "hang")
    stage.goes_by("second")
    # Who is renamed is told by a list, if not by an event.
    stage.pause(2)
    kill_children(stage, "second", 1)
    kill_children(stage, "first", 3)
    perhaps_restart(stage)
    for _ in range(4):
        stage.run("again", "random:0:1500 eat")
        stage.wait("again")
        stage.pause(0, stage.random.choice([0, 3]))
        perhaps_restart(stage)
        stage.remove("again")
        stage.ended("again", "oom")


def swapped(stage):
    """Two containers change names, as in a deploy of two colours: each goes on by its first name."""
    stage.run("blue", "hang")
    stage.run("green", "hang")
    stage.pause(2)
    kill_children(stage, "blue", 1)
    kill_children(stage, "green", 2)
    stage.rename("blue", "passing")
    stage.rename("green", "blue")
    stage.rename("passing", "green")
    perhaps_restart(stage)
    stage.pause(1)
    kill_children(stage, "green", 1)
    kill_children(stage, "blue", 3)
    stage.beside(lambda: stage.act("blue", "restart?t=0"), lambda: stage.act("green", "restart?t=0"))()
    stage.pause(2)
    kill_children(stage, "green", 4)
    kill_children(stage, "blue", 5)
    stage.plimsolls.restart(waits=True)


def kill_children(stage, name, count):
    stage.execute(name, f"children:{count}:0")
    stage.pause(stage.random.choice([0.8, 0.8, 6]))


def perhaps_restart(stage):
    if stage.random.random() < 0.5:
        stage.plimsolls.restart(stage.random.choice([0, 0.5]))


def storm(stage, seconds=14):
    """Starts and removals as quick as Docker can, plimsoll killed in between."""
    stage.create("first", "random:0:30 eat")
    stage.create("child", "child random:0:100 eat")
    going = [True]

    def start_again(name):
        while going:
            stage.cycle(name)

    def make_again():
        while going:
            stage.run("made", "random:0:100 eat")
            stage.wait("made")
            stage.remove("made")

    def removes_itself():
        while going:
            # Its name is taken until Docker has removed it.
            with contextlib.suppress(Refused):
                stage.run("passing", "random:0:100 children:1:50 exit:1", removes_itself=True)
                stage.pause(0.2)
                stage.wait("passing", timeout=5)

    join = stage.beside(lambda: start_again("first"), lambda: start_again("child"), make_again, removes_itself)
    left = seconds
    while left > 0:
        pause = stage.random.uniform(1, 8)
        stage.pause(min(left, pause))
        left -= pause
        stage.plimsolls.restart(stage.random.choice([0, 0.5, 2]))
    going.clear()
    join()
