"""What makes programs fast on a CPU, behind plain operations; elsewhere it does nothing."""
