#!/usr/bin/env python3
"""Rules and a panel beside Prometheus: both scrape one cAdvisor-shaped target at once and evaluate the shipped rules.

usage: beside_prometheus.py PLIMSOLL BENCH_DIR [--containers N] [--interval S] [--minutes M] [--port P]
BENCH_DIR holds target.py and golden.prom. After M minutes it prints, for each program, the median over a minute of the
sum of prometheus_rule_group_last_duration_seconds over all groups, and wall and CPU milliseconds of a query_range of
sum by (name) (rate(container_cpu_usage_seconds_total[5m])) over the whole window at 15 s (the median of five).
"""
import argparse, json, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile, time, urllib.parse, urllib.request

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("plimsoll")
ap.add_argument("bench_dir")
ap.add_argument("--containers", type=int, default=500)
ap.add_argument("--interval", type=int, default=5)
ap.add_argument("--minutes", type=float, default=6)
ap.add_argument("--port", type=int, default=28480)
a = ap.parse_args()

rules = pathlib.Path(__file__).resolve().parent.parent / "rules"
work = pathlib.Path(tempfile.mkdtemp(prefix="beside-"))
common = f"""
global: {{scrape_interval: {a.interval}s, scrape_timeout: {a.interval}s, evaluation_interval: {a.interval}s}}
rule_files: ['{rules}/containers.yml', '{rules}/plimsoll.yml']
scrape_configs:
  - job_name: cadvisor
    static_configs: [{{targets: ['127.0.0.1:{a.port}']}}]
"""
(work / "prometheus.yml").write_text(common)
(work / "plimsoll.yaml").write_text(common + f"""
storage: {{path: {work}/state}}
web: {{listen: '127.0.0.1:{a.port + 2}'}}
window: {{retention: 1h, keep: ['container_cpu_usage_seconds_total'], max_series: 2000000, max_bytes: 4GiB}}
""")


def start(*command):
    log = open(work / (os.path.basename(command[0]) + ".log"), "w")
    return subprocess.Popen(command, stdout=log, stderr=log)


def get(port, path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120).read()


def rule_seconds(port):
    text = get(port, "/metrics").decode()
    found = re.findall(r"^prometheus_rule_group_last_duration_seconds\{.*\} (\S+)$", text, re.M)
    return sum(float(value) for value in found)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def panel(process, port, since):
    query = {"query": "sum by (name) (rate(container_cpu_usage_seconds_total[5m]))", "step": 15,
             "start": since, "end": time.time()}
    began, cpu = time.time(), cpu_seconds(process)
    answer = json.loads(get(port, "/api/v1/query_range?" + urllib.parse.urlencode(query)))
    took, cpu = time.time() - began, cpu_seconds(process) - cpu
    return took * 1000, cpu * 1000, len(answer["data"]["result"])


procs = [start(sys.executable, f"{a.bench_dir}/target.py", f"{a.bench_dir}/golden.prom", str(a.port), str(a.containers))]
try:
    time.sleep(3)
    began = time.time()
    procs.append(start("prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/tsdb",
                       f"--web.listen-address=127.0.0.1:{a.port + 1}", "--log.level=warn"))
    procs.append(start(a.plimsoll, "run", "--config", f"{work}/plimsoll.yaml"))
    time.sleep(a.minutes * 60)
    peers = {"prometheus": (procs[1], a.port + 1), "plimsoll": (procs[2], a.port + 2)}
    seen = {name: [] for name in peers}
    for _ in range(max(3, 60 // a.interval)):
        time.sleep(a.interval)
        for name, (_, port) in peers.items():
            seen[name].append(rule_seconds(port))
    for name, (process, port) in peers.items():
        runs = [panel(process, port, began) for _ in range(5)]
        print(json.dumps({
            "peer": name, "containers": a.containers, "rules_ms": round(statistics.median(seen[name]) * 1000, 1),
            "panel_ms": round(statistics.median(run[0] for run in runs), 1),
            "panel_cpu_ms": round(statistics.median(run[1] for run in runs), 1), "panel_series": runs[0][2]}))
finally:
    for process in procs:
        process.terminate()
    for process in procs:
        process.wait(15)
    if os.environ.get("KEEP"):
        print(work, file=sys.stderr)
    else:
        shutil.rmtree(work, ignore_errors=True)
