"""On-demand machines by SSH, from the server: brought up and let go. Which ones: decide/on_demand; when: loops/on_demand."""
