"""Tools that come with the kernel; each knows ports and facts only."""
