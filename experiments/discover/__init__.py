"""Discovery: evolving a policy objective over whole trainings (`jaxrl discover`)."""
