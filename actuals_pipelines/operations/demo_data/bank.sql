-- What became of the payouts at the bank, and the truth about every defect. Runs after world.sql, with `payout_plan`
-- placed among the payouts that can be told by the last day: in EUR or USD, positive, early enough to be banked.

CREATE TABLE payout AS
SELECT b.* EXCLUDE (net), b.net, coalesce(plan.kind, 'plain') AS kind, next_business_day(day_of(b.day)) AS bank_day,
    CASE b.currency WHEN 'JPY' THEN 400 WHEN 'KWD' THEN 1500 ELSE 750 END AS charge, b.net * 6 // 10 AS first_part
FROM batch b
LEFT JOIN (SELECT batch, row_number() OVER (ORDER BY md5(concat(getvariable('seed'), 'payout', batch))) - 1 AS place
           FROM eligible) ranked USING (batch)
LEFT JOIN payout_plan plan ON ranked.place >= plan.first_place AND ranked.place < plan.end_place
WHERE b.net <> 0;

CREATE TABLE bank AS  -- one row per booked line; the PSP's credits, and what else happens on an account
SELECT row_number() OVER (ORDER BY bank_day, currency, source, batch, part) AS line, * FROM (
    SELECT 'psp' AS source, batch, part, currency, decimals, bank_day,
        CASE WHEN kind = 'payout_short' THEN net - charge
             WHEN kind IN ('payout_partial', 'payout_split') AND part = 1 THEN first_part
             WHEN part = 2 THEN net - first_part ELSE net END AS amount,
        'NORDPAY PAYOUT ' || payout_reference || ' BATCH ' || batch || ' SHOP ' || account AS text,
        CASE batch % 3 WHEN 0 THEN payout_reference ELSE 'NOTPROVIDED' END AS end_to_end,
        'Nordpay Payments B.V.' AS party
    FROM (SELECT *, unnest(CASE kind WHEN 'payout_missing' THEN [] WHEN 'payout_split' THEN [1, 2] ELSE [1] END) AS part
          FROM payout WHERE bank_day <= last_day())
    UNION ALL
    SELECT 'other', n, 1, currency, decimals, day_of(day), amount, words, 'NOTPROVIDED', party
    FROM (SELECT *, (md5_number_lower(concat(getvariable('seed'), 'line', currency, day, '-', n)) >> 1)::BIGINT AS h,
              CASE WHEN h % 5 = 0 THEN 1 ELSE -1 END * (cheapest + h // 10 % spread) AS amount,
              ['Rent warehouse', 'Parcel carrier invoice', 'Salary run', 'Transfer from customer', 'Office supplies',
               'Insurance premium', 'Electricity'][1 + h // 100 % 7] || ' no. ' || h // 10000 % 100000 AS words,
              ['Havenbeheer N.V.', 'Pakketdienst Oost', 'J. de Boer', 'M. Jansen', 'Kantoor & Co',
               'Polder Verzekeringen', 'Stroom B.V.'][1 + h // 100 % 7] AS party
          FROM money, range(getvariable('days')) days(day), range(4) lines(n)
          WHERE isodow(day_of(day)) < 6));

CREATE TABLE truth AS
WITH sale AS (SELECT * FROM shop WHERE type = 'sale'),
     payment AS (SELECT * FROM psp_leg WHERE leg = 0),
order_rows AS (  -- what each kind says of the order's own row
    SELECT i, kind, day, 'soll' AS side, 'shop' AS source, id, reference AS transaction_id, currency,
        CASE kind WHEN 'duplicate' THEN -amount WHEN 'fee_off' THEN amount - p.paid WHEN 'amount_off' THEN amount - p.paid
            WHEN 'late' THEN 0 ELSE amount END AS difference,
        CASE kind WHEN 'late' THEN 'matched' WHEN 'duplicate' THEN 'explained' WHEN 'fee_off' THEN 'explained'
            WHEN 'chargeback' THEN 'explained' ELSE 'unmatched' END AS status,
        CASE WHEN kind IN ('missing_ist', 'typo') THEN reasons_missing(day_of(day))
            WHEN kind = 'amount_off' THEN ['amount_differs'] WHEN kind = 'wrong_currency' THEN ['currency_differs']
            WHEN kind = 'plain' THEN ['not_due'] ELSE [] END AS reasons,
        CASE kind WHEN 'duplicate' THEN 'refund_due' WHEN 'fee_off' THEN 'fee' WHEN 'chargeback' THEN 'chargeback' END
            AS category
    FROM sale LEFT JOIN (SELECT i, amount AS paid FROM payment) p USING (i)
    WHERE kind NOT IN ('plain', 'refund', 'reference_in_text') OR (kind = 'plain' AND p.paid IS NULL)
    UNION ALL
    SELECT i, kind, day, 'soll', 'shop', id, reference, currency, 0, 'matched', [], NULL
    FROM shop WHERE type = 'refund'
    UNION ALL  -- the same, of the payment's row
    SELECT i, kind, day, 'ist', 'psp', id, merchant_reference, currency,
        CASE kind WHEN 'reference_in_text' THEN 0 ELSE -amount END,
        CASE kind WHEN 'reference_in_text' THEN 'matched' ELSE 'unmatched' END,
        CASE kind WHEN 'reference_in_text' THEN [] WHEN 'wrong_currency' THEN ['currency_differs']
            ELSE ['missing_soll'] END, NULL
    FROM payment WHERE kind IN ('missing_soll', 'typo', 'wrong_currency', 'reference_in_text')
),
payout_rows AS (
    SELECT batch AS i, kind, day, payout_id AS id, payout_reference AS transaction_id, currency,
        CASE kind WHEN 'payout_short' THEN charge WHEN 'payout_partial' THEN net - first_part WHEN 'payout_split' THEN 0
            ELSE net END AS difference,
        CASE kind WHEN 'payout_short' THEN 'explained' WHEN 'payout_split' THEN 'matched' ELSE 'unmatched' END AS status,
        CASE kind WHEN 'payout_missing' THEN reasons_missing(day_of(day)) WHEN 'payout_partial' THEN ['amount_differs']
            WHEN 'plain' THEN ['not_due'] ELSE [] END AS reasons,
        CASE kind WHEN 'payout_short' THEN 'bank_charge' END AS category
    FROM payout WHERE kind <> 'plain' OR bank_day > last_day()
)
SELECT CASE kind WHEN 'plain' THEN 'in_transit' ELSE kind END || '-' || i AS defect_id, 'orders_vs_psp' AS package,
    CASE kind WHEN 'plain' THEN 'in_transit' ELSE kind END AS kind, day_of(day) AS day, side, source, id AS row_id,
    transaction_id, currency, difference::BIGINT AS balance_difference, status AS expected_status,
    reasons AS expected_reasons, category AS expected_category
FROM order_rows
UNION ALL
SELECT CASE kind WHEN 'plain' THEN 'payout_in_transit' ELSE kind END || '-' || i, 'payout_vs_bank',
    CASE kind WHEN 'plain' THEN 'payout_in_transit' ELSE kind END, day_of(day), 'soll', 'psp', id,
    transaction_id, currency, difference::BIGINT, status, reasons, category
FROM payout_rows
ORDER BY package, kind, defect_id, side;
