"""What starts runs by itself: new archives, and the clock."""
