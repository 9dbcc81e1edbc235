"""Ours and the peers side by side: `jaxrl benchmark [train|envs|population|compile]`."""
