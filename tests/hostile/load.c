// What runs in the containers: a first process that is told by words what to do, so that the kernel kills it or its children.
//
//   load random:0:300 child sleep:2000 eat
//
// Who is killed shows in the kernel's log by the process's name, `$TOKEN` with `p` for a first process or `c` for a child and
// `$NUMBER` of the container. Each start of a first process adds its time to the file `/marks/$NUMBER`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static volatile sig_atomic_t told;
static long until_end_ms;

static struct timespec now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

static void pause_for(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left)) {
    }
}

static void take_name(char role) {
    char name[16];
    snprintf(name, sizeof name, "%s%c%s", getenv("TOKEN"), role, getenv("NUMBER"));
    prctl(PR_SET_NAME, name);
}

static void mark_start(void) {
    char text[64];
    snprintf(text, sizeof text, "/marks/%s", getenv("NUMBER"));
    int file = open(text, O_CREAT | O_APPEND | O_WRONLY, 0644);
    struct timespec time = now();
    int length = snprintf(text, sizeof text, "%ld.%06ld\n", (long)time.tv_sec, time.tv_nsec / 1000);
    if (file < 0 || write(file, text, length) != length) {
        _exit(99);
    }
    close(file);
}

// Memory without end, a MiB at a time; what cannot be mapped is tried again.
static void eat(long pause_ms) {
    for (;;) {
        char *page = mmap(0, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED) {
            memset(page, 1, MIB);
        }
        if (pause_ms) {
            pause_for(pause_ms);
        }
    }
}

static void fork_eater(void) {
    if (fork() == 0) {
        take_name('c');
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        eat(0);
    }
}

static void children(long count, long pause_ms) {
    for (; count > 0; count--) {
        fork_eater();
        wait(0);
        pause_for(pause_ms);
    }
}

static void together(long count) {
    for (long number = 0; number < count; number++) {
        fork_eater();
    }
    while (wait(0) > 0) {
    }
}

static void remember(int number) { told = number; }

static void end_politely(int number) {
    (void)number;
    pause_for(until_end_ms);
    _exit(0);
}

// Waits for a signal that says how to end.
static void obey(void) {
    int known[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGTERM};
    for (unsigned at = 0; at < sizeof known / sizeof *known; at++) {
        signal(known[at], remember);
    }
    while (!told) {
        pause_for(20);
    }
    if (told == SIGUSR1) {
        eat(0);
    }
    _exit(told == SIGUSR2 ? 3 : 0);
}

static void do_word(const char *word) {
    char name[16] = "";
    long first = 0, second = 0;
    sscanf(word, "%15[a-z]:%ld:%ld", name, &first, &second);
    if (!strcmp(name, "sleep")) {
        pause_for(first);
    } else if (!strcmp(name, "random")) {
        pause_for(first + rand() % (second - first + 1));
    } else if (!strcmp(name, "eat")) {
        eat(first);
    } else if (!strcmp(name, "child")) {
        children(1, 0);
    } else if (!strcmp(name, "children")) {
        children(first, second);
    } else if (!strcmp(name, "together")) {
        together(first);
    } else if (!strcmp(name, "polite")) {
        until_end_ms = first;
        signal(SIGTERM, end_politely);
    } else if (!strcmp(name, "obey")) {
        obey();
    } else if (!strcmp(name, "hang")) {
        pause_for(1000000000);
    } else if (!strcmp(name, "exit")) {
        _exit(first);
    } else {
        _exit(98);
    }
}

int main(int count, char **words) {
    int is_first = getpid() == 1;
    take_name(is_first ? 'p' : 'c');
    if (is_first) {
        mark_start();
    }
    srand(now().tv_nsec);
    for (int at = 1; at < count; at++) {
        if (!strcmp(words[at], "loop")) {
            at = 0;
        } else {
            do_word(words[at]);
        }
    }
    return 0;
}
