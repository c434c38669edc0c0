"""Two servers that federate, one of them away: the module on either, both or none."""
