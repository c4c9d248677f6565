"""Where an entry and its details hold what: paths of local names in all versions, and the names of their texts here."""

from __future__ import annotations

from actuals_pipelines.readers.camt.elements import Plan

# Both an entry and a detail have these. The names are ours; those of `REFERENCES` become references.
_COMMON = {
    "Amt": "amount",
    "CdtDbtInd": "direction",
    "BkTxCd/Domn/Cd": "domain",
    "BkTxCd/Domn/Fmly/Cd": "family",
    "BkTxCd/Domn/Fmly/SubFmlyCd": "sub_family",
    "BkTxCd/Prtry/Cd": "proprietary_code",
    "AmtDtls/InstdAmt/Amt": "instructed",
    "AmtDtls/TxAmt/Amt": "transaction",
    "AmtDtls/CntrValAmt/Amt": "counter_value",
    "AmtDtls/InstdAmt/CcyXchg/XchgRate": "rate",
    "AmtDtls/TxAmt/CcyXchg/XchgRate": "rate",
    "AmtDtls/CntrValAmt/CcyXchg/XchgRate": "rate",
    "Chrgs/Amt": "has_charges",
    "Chrgs/TtlChrgsAndTaxAmt": "has_charges",
    "Chrgs/Rcrd/Amt": "has_charges",
}
_BATCH = {"MsgId": "batch", "PmtInfId": "payment_information", "NbOfTxs": "transactions"}
ENTRY = Plan(
    _COMMON,
    {
        "NtryRef": "entry_ref",
        "AcctSvcrRef": "acct_svcr",
        "RvslInd": "is_reversal",
        "Sts": "status",  # up to version 7; an element with a code from 8 on
        "Sts/Cd": "status",
        "Sts/Prtry": "status",
        "BookgDt/Dt": "BookgDt",
        "BookgDt/DtTm": "booked_at",
        "BookgDt/Dt/DtTm": "booked_at",
        "ValDt/Dt": "ValDt",
        "ValDt/DtTm": "ValDt",
        "ValDt/Dt/DtTm": "ValDt",
        "AddtlNtryInf": "entry_text",
    },
    {f"{holder}Btch/{path}": name for holder in ("", "NtryDtls/") for path, name in _BATCH.items()},
)
SUM = Plan(_COMMON)  # a detail whose row nobody wants still counts in the sum of all
DETAIL = Plan(
    _COMMON,
    {
        "Refs/AcctSvcrRef": "acct_svcr",
        "Refs/MsgId": "batch",
        "Refs/PmtInfId": "payment_information",
        "Refs/EndToEndId": "end_to_end",
        "Refs/InstrId": "instruction",
        "Refs/TxId": "tx_id",
        "Refs/UETR": "uetr",
        "Refs/MndtId": "mandate",
        "Refs/ChqNb": "check",
        "RmtInf/Ustrd": "remittance",
        "RmtInf/Strd/CdtrRefInf/Ref": "creditor_ref",
        "RmtInf/Strd/CdtrRefInf/CdtrRef": "creditor_ref",
        "RmtInf/Strd/RfrdDocInf/Nb": "document",
        "RmtInf/Strd/RfrdDocInf/RfrdDocNb": "document",
        "RmtInf/Strd/RfrdDocInf/Tp/CdOrPrtry/Cd": "document_type",
        "RmtInf/Strd/AddtlRmtInf": "remittance",
        "AddtlTxInf": "detail_text",
        "RtrInf/Rsn/Cd": "return_reason",
        "RtrInf/Rsn/Prtry": "return_reason",
        "RtrInf/RtrRsn/Cd": "return_reason",
        "RtrInf/RtrRsn/Prtry": "return_reason",
    },
    {
        f"RltdPties/{side}{path}": f"{side}{name}"
        for side in ("Dbtr", "Cdtr")
        for path, name in {
            "/Nm": "/name",
            "/Pty/Nm": "/name",  # from version 8 on
            "/Agt/FinInstnId/Nm": "/name",
            "Acct/Id/IBAN": "/account",
            "Acct/Id/Othr/Id": "/account",
            "Acct/Id/PrtryAcct/Id": "/account",
        }.items()
    },
    {
        f"RltdPties/Ultmt{side}{wrap}/Nm": f"{side}/ultimate"
        for side in ("Dbtr", "Cdtr")
        for wrap in ("", "/Pty", "/Agt/FinInstnId")
    },
)
CHARGES = Plan(
    {path: name for path, name in _COMMON.items() if "/" not in path},
    {"TtlChrgsAndTaxAmt": "amount", "ChrgInclInd": "is_included"},
)
