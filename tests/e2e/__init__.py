"""The rule, case by case, in a real Synapse."""
