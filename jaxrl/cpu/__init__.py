"""Operations that are optimized for CPUs; on other devices they have no effect."""
