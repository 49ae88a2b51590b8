"""A whole submission of invented people, for tests and timing; not a test."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from glp1_pipeline.domain.events import Submission

ATTACHMENT = {"content_type": "image/jpeg", "sha256": "ab" * 32, "url": "https://files.invalid/1"}
CONSENT = {"status": "given", "version": "2026-03", "at": "2026-11-22T09:58:00-06:00"}


def full_answers() -> dict[str, Any]:
    """An answer to every question of version 3.0.0 that a diabetic woman with earlier treatment is asked."""
    red = ("mtc_personal", "mtc_family", "men2", "gastroparesis", "t1dm", "retinopathy", "thyroid_other", "transplant")
    tri = dict.fromkeys([*(f"hx.{name}" for name in red), "preg.breastfeeding", "allergy.any"], "no")
    consents = {f"consent.{name}": dict(CONSENT) for name in ("telehealth", "treatment", "privacy_npp", "compounded")}
    return {
        "lead.source": "referral",
        "demo.legal_first": "Philippa",
        "demo.legal_last": "Featherstonehaugh",
        "demo.preferred_name": "Pip",
        "demo.dob": "1984-06-30",
        "demo.sex_at_birth": "female",
        "demo.gender": "female",
        "demo.gender_identity": "female",
        "demo.email": "pip+test@example.org",
        "demo.mobile": "+12025550147",
        "demo.address": {
            "line1": "7 Teapot Lane", "city": "Austin", "state": "TX", "postal_code": "78701", "country": "US",
        },
        "demo.state_residence": "TX",
        "demo.state_at_visit": "TX",
        "demo.timezone": "America/Chicago",
        "demo.language": "en",
        "id.photo_id": dict(ATTACHMENT),
        "id.selfie": dict(ATTACHMENT),
        "id.verification_status": "verified",
        "consent.marketing": "refused",
        "consent.sms": "given",
        "consent.release_pcp": "refused",
        "goal.primary": "health_risk",
        "goal.target": "21-50lb",
        "anthro.height": {"ft": 5, "in": 6},
        "anthro.weight": {"value": 212, "unit": "lb"},
        "anthro.weight_measured_at": "2026-11-20",
        "anthro.weight_method": "home_scale",
        "anthro.highest_weight": {"value": 230, "unit": "lb"},
        "anthro.pre_glp1_weight": {"value": 102.5, "unit": "kg"},
        "vitals.bp": {"systolic": 128, "diastolic": 82},
        "vitals.hr": 72,
        "hx.pancreatitis": "never",
        "hx.gallbladder": "none",
        "hx.t2dm": "yes",
        "hx.kidney": "none",
        "hx.liver": "masld",
        "hx.suicide": "none",
        "hx.eating_disorder": "none",
        "hx.cancer": "none",
        "hx.bariatric": "none",
        "hx.substance": "none",
        "hx.surgery_planned": "none",
        "hx.comorbidities": ["t2dm", "htn", "masld"],
        "preg.status": "no",
        "preg.planning": "no",
        "preg.lmp": "2026-11-02",
        "preg.contraception": "iud",
        "med.glp1_history": "past>1mo",
        "med.glp1_product": {"product": "wegovy_inj", "dose": 0.5, "dose_unit": "mg"},
        "med.glp1_last_dose": "2026-07-01",
        "med.glp1_source": "pharmacy",
        "med.current_list": [
            {"name": "metformin", "dose": "500 mg", "frequency": "twice a day"},
            {"name": "lisinopril", "dose": "10 mg"},
        ],
        "med.prior_weight_loss": ["phentermine"],
        "life.diet_program": {"kind": "app", "started_on": "2026-01-05", "ended_on": "2026-07-06"},
        "life.activity": 90,
        "care.pcp": {"name": "Dr. Quill", "fax": "+12025550199"},
        "rx.pharmacy": "0123456",
        "rx.preference": "no_preference",
        "ins.has_coverage": True,
        "ins.member_id": "W00TEAPOT7",
        "ins.bin_pcn_group": {"bin": "004336", "pcn": "ADV", "group": "RX77"},
        "ins.payer_type": "commercial",
        "sys.attestation": True,
        **tri,
        **consents,
    }  # fmt: skip


def submission(answers: dict[str, Any], version: str = "3.0.0", **changes: Any) -> Submission:
    usual: dict[str, Any] = {
        "submission_id": "6a4f2f0e-0000-4000-8000-000000000001",
        "form_id": "glp1-intake",
        "form_version": version,
        "status": "completed",
        "authored_at": datetime.fromisoformat("2026-11-22T10:00:00-06:00"),
        "received_at": datetime.fromisoformat("2026-11-22T16:00:01+00:00"),
        "time_zone": "America/Chicago",
        "channel": "ios",
        "locale": "en-US",
        "ab_variant": "A",
        "duration_s": 412,
        "supersedes": None,
    }
    return Submission(**{**usual, **changes, "answers": answers})
