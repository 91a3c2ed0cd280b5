"""The pages, in the order of the navigation, and what can be done on them."""

from __future__ import annotations

from typing import Final

from dashboard.action import Action
from dashboard.page import Page
from dashboard.pages import audit, budgets, decision, decisions, overview, policy, rollout, tiers

PAGES: Final[tuple[Page, ...]] = (
    overview.PAGE,
    decisions.PAGE,
    decision.PAGE,
    rollout.PAGE,
    budgets.PAGE,
    tiers.PAGE,
    policy.PAGE,
    audit.PAGE,
)
ACTIONS: Final[tuple[Action, ...]] = (*rollout.ACTIONS, *budgets.ACTIONS, *tiers.ACTIONS)
