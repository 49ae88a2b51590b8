"""The teams that own assets, jobs and sensors, as the Dagster UI names them. Not here: who is on call (`contracts`)."""

DATA, OPS, CLINICAL = "team:data-engineering", "team:ops", "team:clinical-operations"
