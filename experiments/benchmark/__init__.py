"""Speed of jaxrl and of other libraries: `jaxrl benchmark [train|envs|population|compile]`."""
