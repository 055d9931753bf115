"""What is trained, on what and how, without torch: schedules, recipes in TOML, and how a size becomes one."""
