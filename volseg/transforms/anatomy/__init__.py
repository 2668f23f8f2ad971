"""What a head is made of: the maps on which resections are simulated."""
