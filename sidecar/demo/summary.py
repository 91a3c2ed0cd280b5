"""Tells what came of the demo: who answered what and why, at what cost, and how the tiers were mixed."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.core.vocabulary import Arm
from sidecar.demo.player import Played
from sidecar.demo.terminal import Terminal

#: What share of the calls each tier is meant to answer, cheapest tier first.
MEANT = (0.70, 0.20, 0.10)
_BAR_CHARS = 30
_SAID_CHARS = 160
_TIER_STYLES = ("green", "cyan", "yellow")


def show(terminal: Terminal, tiers: Sequence[str], played: Sequence[Played]) -> None:
    """Print the table of calls, the mix of tiers and the sums. ``tiers`` are cheapest first."""
    styles = dict(zip(tiers, _TIER_STYLES, strict=True))
    terminal.line()
    terminal.table(
        (">#", "call", "arm", "answered by", "why", ">cost $", ">ms"),
        [_row(number, each) for number, each in enumerate(played, 1)],
        [("red",) if each.error else (styles.get(each.tier, "dim"),) for each in played],
    )
    for each in played:
        if each.error:
            terminal.line(terminal.colour(f"  {each.ask.label}: {each.error}", "red"))
    _show_answers(terminal, tiers, played, styles)
    _show_mix(terminal, tiers, played, styles)
    _show_sums(terminal, tiers, played)


def _row(number: int, each: Played) -> tuple[str, ...]:
    why = each.reason + (f" (after {each.fallback})" if each.fallback else "")
    return (
        str(number),
        each.ask.label,
        each.arm or "-",
        each.tier or "nobody",
        "failed" if each.error and not each.reason else why,
        f"{each.cost_usd:.6f}" if each.cost_usd else "0",
        f"{each.duration_ms:.0f}",
    )


def _show_answers(
    terminal: Terminal, tiers: Sequence[str], played: Sequence[Played], styles: dict[str, str]
) -> None:
    """One answer of each tier, as it was said."""
    terminal.line()
    terminal.line(terminal.colour("What they said, one answer each", "bold"))
    for tier in tiers:
        for each in played:
            if each.tier == tier and each.text:
                said = " ".join(each.text.split())[:_SAID_CHARS]
                model = terminal.colour(f"{tier} ({each.model})", styles[tier])
                terminal.line(f"  {model}, asked to {each.ask.label}: {said}")
                break


def _show_mix(
    terminal: Terminal, tiers: Sequence[str], played: Sequence[Played], styles: dict[str, str]
) -> None:
    terminal.line()
    terminal.line(terminal.colour("Tier mix, against what is meant", "bold"))
    width = max(map(len, tiers))
    for tier, meant in zip(tiers, MEANT, strict=True):
        calls = sum(each.tier == tier for each in played)
        share = calls / len(played)
        bar = "█" * round(share * _BAR_CHARS)
        coloured = terminal.colour(bar.ljust(_BAR_CHARS), styles[tier])
        terminal.line(f"  {tier:<{width}}  {coloured} {share:4.0%} of calls ({calls}), meant {meant:.0%}")


def _show_sums(terminal: Terminal, tiers: Sequence[str], played: Sequence[Played]) -> None:
    terminal.line()
    for arm in Arm:
        of_arm = [each for each in played if each.arm == arm]
        if not of_arm:
            terminal.line(f"  {arm:<7} arm: no calls")
            continue
        middle = sorted(each.duration_ms for each in of_arm)[len(of_arm) // 2]
        spent = sum(each.cost_usd for each in of_arm)
        terminal.line(f"  {arm:<7} arm: {len(of_arm):>2} calls, median {middle:.0f} ms, ${spent:.6f}")
    spent = sum(each.cost_usd for each in played)
    dearest = sum(each.cost_usd for each in played if each.tier == tiers[-1])
    terminal.line(
        f"  spent ${spent:.6f} at the prices of the real clouds, ${dearest:.6f} of it at {tiers[-1]}; "
        "nothing was really paid: the clouds are scripted"
    )
