"""The app: shows runs, starts and steers them through the run directory. Never trains, never imports torch."""
