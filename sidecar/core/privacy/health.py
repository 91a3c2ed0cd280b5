"""The words that make a text about somebody's health, work or private life, and who it is about.

They are marks: a health term alone is medicine, a name alone is a name. ``ties.py`` weighs them together.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.privacy.rules import Rule, listed

HEALTH: Final = "health"
SELF: Final = "self"
RECORD: Final = "record"
PRIVATE: Final = "private"
OWN: Final = "own"


# Begin a word; German compounds that only contain them are in _PARTS.
_STEMS: Final = listed(
    """diabet, diabèt, diabét, insulin, metformin, epilep, depressi, dépress, depresi, bipolar, schizophren,
    psychos, psychot, psychiatr, anxiety disorder, panic attack, burnout, suicid, suizid, self-harm, anorex,
    bulimi, autis, adhd, asperger, tourette, dementia, demenz, demence, démence, eating disorder,
    essstörung, alzheimer, parkinson, multiple sclerosis, multiple sklerose, sklerose, sclérose, sclerose,
    esclerosis, sclerosi, migraine, migräne, migraña, hepatit, hépatit, cirrhos, leberzirrhose, hiv, aids,
    antiretrovir, chlamyd, gonorrh, syphilis, herpes, tubercul, tuberkul, covid, pneumoni, bronchit, asthma,
    asma, copd, emphysem, cancer, krebs, carcinom, karzinom, tumor, tumour, melanom, leukäm, leukaem,
    leukem, lymphom, myelom, metasta, chemother, radiother, strahlenther, sarcom, hypertens, bluthochdruck,
    heart attack, heart failure, herzinfarkt, herzinsuff, infarct, infarto, stroke, schlaganfall, accident
    vasculaire, ictus, arrhythm, angina, thrombos, embol, anaemi, anemi, anämi, hemophil, hämophil, arthrit,
    arthros, rheuma, lupus, psoria, neurodermit, eczema, ekzem, crohn, colit, kolit, morbus, coeliac,
    celiac, zöliak, reizdarm, kidney failure, dialys, nierenversagen, pregnan, schwanger, enceinte, embaraz,
    gravid, miscarr, fehlgeburt, abortion, abtreib, avortement, aborto, ivf, infertil, unfruchtbar,
    endometrio, hypothyr, hyperthyr, schilddrüse, thyroid, adipos, obes, alcoholi, alcohol depend, drug
    depend, substance ab, alkoholab, alkoholkrank, alcoolis, alcoholismo, addict, süchtig, opioid, methadon,
    heroin, overdos, rehab, entzug, antidepress, sertralin, fluoxetin, citalopram, escitalopram, lithium,
    prozac, ritalin, methylphenid, antibiot, morphin, oxycodon, warfarin, ramipril, lisinopril, levothyrox,
    prednison, cortison, chemo, therapist, psychotherap, psycholog, post-traumatic, ptsd, ptbs, trauma,
    biops, mammogra, colonosc, koloskop, ultrasound scan, surgery, surgical, operiert, amputat, transplant,
    pacemaker, herzschrittmacher, wheelchair, rollstuhl, disabilit, behinder, disabled, handicap,
    discapacidad, invalidit, pflegegrad, pflegestufe, disease, erkrank, maladie, enfermedad, malattia,
    fibromyal, parapleg, hearing loss, blindness, glaucom, macular, cataract, cholester, gallstone,
    gallenstein, hernia, hernie, appendic, blinddarm, bandscheibe, herniated, slipped disc, skolios,
    scolios, osteopor, fractur, fraktur, concussion, gehirnerschütter, covid-19, zona, shingles, gürtelrose,
    malaria, dengue, allerg, anaphyla, infektion mit, hiv-infekt, sida, vih, trouble dépressif, trouble
    bipolaire, dépression, depresión, cáncer, cancro, épilep, insuffisance, insuficiencia, gastritis,
    gastrit, ulcer, sleep apn, schlafapn, borderline, persönlichkeitsstörung, störung, disorder, trastorno,
    syndrom, síndrome, zwangsstörung, angststörung, panikstörung, unverträglichkeit, intoleran, stoma,
    inkontinen, incontinen, impoten, erectile, erektil, transgender, gender dysphor, schizoid"""
)
_PARTS: Final = listed(
    """karzinom, krebs, tumor, leukämie, diabetes, depression, epilepsie, allergie, therapie, erkrankung,
    insuffizienz, demenz"""
)
_SHAPES: Final = (r"\b[a-tv-z]\d{2}\.\d\b",)

_SELF: Final = listed(
    """i was diagnosed, i have been diagnosed, i've been diagnosed, i got diagnosed, been diagnosed, was
    diagnosed, diagnosed me, i have, i've, i had, i suffer, i am suffering, i'm suffering, i take, i am
    taking, i'm taking, i'm on, i am on, i am, i'm, my doctor, my mother, my father, my mom, my mum, my dad,
    my son, my daughter, my wife, my husband, my partner, my child, my kid, my baby, my brother, my sister,
    my grandmother, my grandfather, my girlfriend, my boyfriend, my friend, my boss, my colleague, my
    coworker, my neighbour, my neighbor, my uncle, my aunt, my patient, my client, my therapist, my
    psychiatrist, my diagnosis, my medication, my treatment, my gp, my employee, her doctor, his doctor, his
    therapist, her therapist, we have, me with, since my, after my, about my, because of my, due to my, with
    my, for my, of my, bei mir, mir wurde, wurde bei, ich habe, ich hatte, ich leide, ich nehme, ich bin,
    mein arzt, meine ärztin, meine mutter, mein vater, meine frau, mein mann, mein sohn, meine tochter, mein
    kind, mein bruder, meine schwester, meine oma, mein opa, meine freundin, mein freund, mein chef, meine
    chefin, mein kollege, meine kollegin, mein nachbar, meine partnerin, mein partner, meiner mutter, meinem
    vater, meinem sohn, meiner tochter, meiner frau, meinem mann, meinem kind, seit meiner, wegen meiner,
    wegen meines, meine diagnose, unser sohn, unsere tochter, unser kind, ihr mann, seine frau, hat bei,
    leide an, leidet an, erkrankt an, bin an, diagnostiziert bekommen, on m'a, je suis, j'ai, je souffre, je
    prends, mon médecin, ma mère, mon père, ma femme, mon mari, mon fils, ma fille, mon enfant, mon frère,
    ma soeur, ma grand-mère, mon grand-père, ma copine, mon copain, mon patron, mon collègue, m'a
    diagnostiqué, mon traitement, ma maladie, suite à mon, à cause de mon, mon psy, mon conjoint, notre
    fils, notre fille, me han, me diagnosticaron, tengo, padezco, sufro, tomo, mi médico, mi madre, mi
    padre, mi mujer, mi esposa, mi marido, mi esposo, mi hijo, mi hija, mi hermano, mi hermana, mi abuela,
    mi abuelo, mi novia, mi novio, mi jefe, mi pareja, mi diagnóstico, mi tratamiento, mi enfermedad, ho
    avuto, soffro, mia madre, mio padre, mia moglie, mio marito, mio figlio, mia figlia, mi hanno, ik heb,
    mijn moeder, mijn vader, mijn zoon, mijn dochter, mijn vrouw, mijn man, bij mij"""
)
# Whose it may be, in a word that says little alone.
_OWN: Final = listed(
    """me, my, mine, myself, our, i'm, i've, i'll, i'd, she has, he has, she's, he's, his, her, suffers,
    suffering, lives with, living with, diagnosed, colleague, coworker, neighbour, neighbor, friend,
    roommate, flatmate, mir, mich, mein, meine, meinem, meinen, meiner, meines, unser, unsere, unserem,
    unserer, sein, seine, seiner, seinem, ihr, ihre, ihrem, ihrer, ich, leidet, leide, erkrankt,
    diagnostiziert, kollege, kollegin, nachbar, nachbarin, freund, freundin, mitbewohner, moi, mon, ma, mes,
    notre, nos, je, j'ai, m'a, souffre, atteint, atteinte, diagnostiqué, collègue, voisin, voisine, copain,
    copine, lui, mi, mis, mí, mia, mio, nuestro, nuestra, tengo, yo, sufre, padece, padezco, sufro, vecino,
    vecina, compañero, compañera, amigo, amiga, soffre, ho, mijn, onze, ik"""
)
_RECORD: Final = listed(
    """discharge summary, diagnosis:, diagnosis, assessment:, medical history, past medical, admitted,
    presented with, complains of, chief complaint, prescribed, patient:, patient is, patient was, patient
    has, the patient, year-old, years old, y/o, entlassungsbrief, arztbrief, befund, diagnose:, diagnose,
    anamnese, der patient, die patientin, patientin, patient, berichten über, aufgenommen, verordnet,
    -jährige, -jähriger, jährige, wiedervorstellung, krankgeschrieben, krankmeldung, attest, arbeitsunfähig,
    compte rendu, dossier médical, le patient, la patiente, atteint de, atteinte de, hospitalisé,
    antécédents, ordonnance, arrêt maladie, historia clínica, diagnóstico, el paciente, la paciente,
    diagnosticado, diagnosticada, ingresado, ingresada, paciente, baja médica, sick leave, medical leave,
    off sick, on leave for, follow-up, follow up, treated for, being treated, suffers from, suffering from,
    diagnosed with, tested positive, in treatment, in behandlung, behandelt wegen, insured, versicherte,
    versicherter, claimant, employee, mitarbeiter, mitarbeiterin, salarié, empleado, cartella clinica, il
    paziente, la paziente"""
)
_PRIVATE: Final = listed(
    """salary, salaries, earns, earning, wage, wages, payroll, bonus, compensation, fired, dismissed,
    dismissal, terminated, termination, disciplinary, performance improvement, underperform, written
    warning, sick days, sick leave, sick note, absent, absence, maternity, resigned, resignation, pregnant,
    divorce, divorced, custody, religion, religious, catholic, muslim, jewish, union member, trade union,
    sexual orientation, gay, lesbian, arrested, convicted, conviction, criminal record, prison, probation,
    debt, debts, bankrupt, bankruptcy, mortgage, overdue, eviction, loan, credit score, credit rating,
    lease, tenant, rent arrears, insured, insurance claim, policyholder, harass, complaint, complained,
    allegation, gehalt, bruttogehalt, nettogehalt, monatsgehalt, jahresgehalt, lohn, verdient, abmahnung,
    kündigung, gekündigt, entlassen, krankheitstage, krankgeschrieben, krankmeldung, fehltage,
    unentschuldigt, personalnummer, personalakte, steuerklasse, konfession, röm.-kath, evangelisch,
    gewerkschaft, schwanger, scheidung, geschieden, sorgerecht, vorstrafe, vorbestraft, verurteilt,
    verhaftet, schulden, insolvenz, mahnung, kredit, darlehen, mietvertrag, mietrückstand, bonität, schufa,
    elternzeit, schwerbehindert, staatsangehörigkeit, zeugnis, salaire, rémunération, licencié,
    licenciement, avertissement, arrêt maladie, congé maternité, divorcé, syndicat, casier judiciaire,
    condamné, dettes, surendett, prêt, loyer, locataire, plainte, nationalité, bulletin de paie, prime,
    salario, sueldo, nómina, despido, despedid, baja médica, sindicato, divorciad, antecedentes, condenado,
    deudas, préstamo, hipoteca, alquiler, inquilin, denuncia, stipendio, licenziat, contratto di lavoro,
    salaris, ontslag, ziekmelding"""
)

HEALTH_MARKS: Final = (
    Rule(HEALTH, None, stems=_STEMS, parts=_PARTS, shapes=_SHAPES),
    Rule(SELF, None, words=_SELF),
    Rule(OWN, None, words=_OWN),
    Rule(RECORD, None, words=_RECORD),
    Rule(PRIVATE, None, words=_PRIVATE),
)
