"""Who trains, one file each."""
