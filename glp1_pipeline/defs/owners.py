"""The teams that own assets, jobs and sensors: those of contracts/oncall.yaml, so that the Dagster UI, an alert and the
page of health name the same one. Not here: whose turn it is (`contracts`).
"""

INTEGRATION, STEWARD = "team:integration", "team:data-steward"
OPERATIONS, CLINICAL = "team:operations", "team:clinical"
