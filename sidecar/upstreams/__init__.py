"""The ways to reach a tier: relayed bytes, or any-llm."""
