"""What exists only for speed on accelerators, behind the plain operations that it replaces."""
