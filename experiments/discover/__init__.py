"""Discovery: evolves a policy objective over whole trainings (`jaxrl discover`)."""
