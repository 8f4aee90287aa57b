#!/bin/sh
# Makes the plan poisson.toml; written by dijitso VERSION.
#SBATCH --job-name=dijitso-poisson
#SBATCH --output=/home/me/poisson.toml.jobs/slurm-%j.log

cd /home/me || exit 1
# The command takes the place of the shell, and gets the signals of the batch system itself.
exec /opt/bin/dijitso make poisson.toml -k -j "${SLURM_CPUS_ON_NODE:-1}" --status-file /home/me/poisson.toml.jobs/slurm-"$SLURM_JOB_ID".status
