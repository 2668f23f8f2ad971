"""What an encoder has learned: its frozen features against labels, and against each other."""
