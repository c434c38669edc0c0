"""What requests cost a Synapse with the module and one without."""
