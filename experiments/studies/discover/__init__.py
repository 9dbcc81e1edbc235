"""Discovery: evolves a policy objective over whole training runs (`jaxrl discover`)."""
