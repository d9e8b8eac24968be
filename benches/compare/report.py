"""The table and the gates of PRODUCT.md §10. Pure: figures in, words out.

A ratio is the median of the ratios of each round, because rounds are interleaved and a machine drifts between them.
"""

from statistics import median

CPU, RATE = "cpu_us", "requests_per_second"
# Rows that are compared with each other, and with which references.
GROUPS = (
    ("in front of OpenBao", ("openbao", "nginx-proxy", "pingora", "bao-proxy", "proxied"),
     ((CPU, "pingora"), (CPU, "nginx-proxy"), (RATE, "bao-proxy"))),
    ("answered here", ("nginx-fixed", "agent", "local", "sync-hit", "sync-miss", "aws-hit"),
     ((CPU, "agent"), (RATE, "agent"), (CPU, "nginx-fixed"))),
)
# What, row, metric, then factor and reference of the gate and of the goal. At most for CPU, at least for rates.
GATES = (
    ("sync read, CPU", "sync-hit", CPU, (1.5, "agent"), (1.0, "agent")),
    ("sync read, throughput", "sync-hit", RATE, (0.8, "agent"), (1.0, "agent")),
    ("proxied Vault read, CPU", "proxied", CPU, (1.2, "pingora"), (1.0, "nginx-proxy")),
    ("proxied Vault read, throughput", "proxied", RATE, (1.3, "bao-proxy"), (1.5, "bao-proxy")),
)
QUIET_SHARE = 0.05
IDLE_GATE_MIB, IDLE_GOAL_MIB = 20.0, 12.0
SHORT = {CPU: "CPU", RATE: "req/s"}


def ratio(rows, name, metric, reference):
    """Of two rows that were both measured; None otherwise."""
    if name not in rows or reference not in rows:
        return None
    pairs = zip(rows[name]["rounds"], rows[reference]["rounds"])
    return median(one[metric] / other[metric] for one, other in pairs)


def table(rows):
    """The figures as text, a group of rows after the other."""
    lines = []
    for title, names, references in GROUPS:
        present = [name for name in names if name in rows]
        if not present:
            continue
        shown = [(metric, other) for metric, other in references if other in rows]
        head = [title, "req/s", "p50 ms", "p99 ms", "CPU us/req", "idle MiB", "load MiB"]
        head += ["{}/{}".format(SHORT[metric], other) for metric, other in shown]
        cells = [head] + [figures(rows, name) + [times(rows, name, *one) for one in shown] for name in present]
        lines += layout(cells) + [""]
    return "\n".join(lines)


def figures(rows, name):
    row = rows[name]
    return [
        row["title"], "{:,.0f}".format(row[RATE]), "{:.2f}".format(row["p50_us"] / 1000), "{:.2f}".format(row["p99_us"] / 1000),
        "{:.1f}".format(row[CPU]), "{:.1f}".format(row["rss_idle_mib"]), "{:.1f}".format(row["rss_loaded_mib"]),
    ]


def times(rows, name, metric, reference):
    value = ratio(rows, name, metric, reference)
    return "-" if value is None else "{:.2f}x".format(value)


def layout(cells):
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(padded))
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def gates(rows):
    """Every gate with its verdict (PASS, FAIL or `not measured`) and whether its goal is reached."""
    found = []
    for what, name, metric, gate, goal in GATES:
        values = [ratio(rows, name, metric, reference) for _, reference in (gate, goal)]
        words = ["{} {}x {}".format(sign(metric), *limit) for limit in (gate, goal)]
        met = [meets(metric, value, limit) for value, (limit, _) in zip(values, (gate, goal))]
        found.append(verdict(what, values[0], "x", words, met))
    for name in ("local", "sync-hit", "proxied"):
        value = rows[name]["rss_idle_mib"] if name in rows else None
        words = ["<= {} MiB".format(limit) for limit in (IDLE_GATE_MIB, IDLE_GOAL_MIB)]
        met = [meets("rss", value, limit) for limit in (IDLE_GATE_MIB, IDLE_GOAL_MIB)]
        found.append(verdict("idle RSS, " + name, value, " MiB", words, met))
    return found


def sign(metric):
    return ">=" if metric == RATE else "<="


def meets(metric, value, limit):
    if value is None:
        return None
    return value >= limit if metric == RATE else value <= limit


def verdict(what, value, unit, words, met):
    word = {None: "not measured", True: "PASS", False: "FAIL"}[met[0]]
    return {"what": what, "value": value, "unit": unit, "gate": words[0], "verdict": word, "goal": words[1], "goal_reached": met[1]}


def warning(rows):
    """What the reader must know of the run; empty when the machine was ours."""
    most = max(one["others_share"] for row in rows.values() for one in row["rounds"])
    if most <= QUIET_SHARE:
        return ""
    return "note: other programs took up to {:.0%} of the machine during a round; measure again when it is quiet\n".format(most)


def gate_lines(found):
    cells = [["gate", "measured", "gate", "", "goal", ""]]
    for one in found:
        value = "-" if one["value"] is None else "{:.2f}{}".format(one["value"], one["unit"])
        goal = {None: "", True: "reached", False: "not yet"}[one["goal_reached"]]
        cells.append([one["what"], value, one["gate"], one["verdict"], one["goal"], goal])
    return "\n".join(layout(cells))


def is_green(found):
    """Whether every gate was measured and passed: one that was not measured is not green."""
    return all(one["verdict"] == "PASS" for one in found)
