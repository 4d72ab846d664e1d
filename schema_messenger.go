package godwit

// The tables of groups, marks, edits, settings, devices and lists of people: what
// a messenger has beside messages.

var channelPlaceFields = fields{
	1: {"conv", aString},
	2: {"gseq", aNumber},
}

var markFields = fields{
	1: {"conv", aString},
	2: {"delivered", aNumber},
	3: {"read", aNumber},
}

var typingFields = fields{
	1: {"conv", aString},
	2: {"stop", aNumber},
}

var groupFields = fields{
	1:  {"do", aString},
	2:  {"group", aString},
	3:  {"cid", aString},
	4:  {"name", aString},
	5:  {"users", aList},
	6:  {"role", aString},
	7:  {"join", aString},
	8:  {"history", aString},
	9:  {"gseq", aNumber},
	10: {"next", aString},
	11: {"limit", aNumber},
}

var editFields = fields{
	1: {"mid", aString},
	2: {"text", aString},
	3: {"data", aString},
	4: {"type", aString},
}

var recallFields = fields{1: {"mid", aString}}

var deviceFields = fields{
	1: {"do", aString},
	2: {"device", aString},
	3: {"all", aNumber},
}

var peopleFields = fields{
	1: {"add", aList},
	2: {"remove", aList},
}

var conversationChangeFields = fields{
	1: {"conv", aString},
	2: {"mute", aNumber},
	3: {"pin", aNumber},
	4: {"archive", aNumber},
	5: {"delete", aNumber},
}

var doneFields = fields{
	1: {"seq", aNumber},
	2: {"gseq", aNumber},
	3: {"dup", aNumber},
}

var groupReplyFields = fields{
	1:  {"group", aString},
	2:  {"conv", aString},
	3:  {"name", aString},
	4:  {"join", aString},
	5:  {"history", aString},
	6:  {"role", aString},
	7:  {"count", aNumber},
	8:  {"channel", aNumber},
	9:  {"gseq", aNumber},
	10: {"members", aList},
	11: {"groups", aList},
	12: {"next", aString},
	13: {"delivered", aNumber},
	14: {"read", aNumber},
	15: {"dup", aNumber},
}

var memberFields = fields{
	1: {"user", aString},
	2: {"role", aString},
	3: {"since", aNumber},
	4: {"delivered", aNumber},
	5: {"read", aNumber},
}

var groupItemFields = fields{
	1: {"group", aString},
	2: {"conv", aString},
	3: {"name", aString},
	4: {"role", aString},
	5: {"count", aNumber},
	6: {"channel", aNumber},
}

var devicesReplyFields = fields{1: {"devices", aList}}

var deviceItemFields = fields{
	1: {"device", aString},
	2: {"since", aNumber},
	3: {"online", aNumber},
	4: {"seen", aNumber},
	5: {"this", aNumber},
}

var peopleReplyFields = fields{1: {"users", aList}}

var ephemeralFields = fields{
	1: {"typing", aMessage},
	2: {"presence", aMessage},
	3: {"receipt", aMessage},
}

var typingNoticeFields = fields{
	1: {"conv", aString},
	2: {"user", aString},
	3: {"stop", aNumber},
}

var channelStartFields = fields{
	1: {"conv", aString},
	2: {"gseq", aNumber},
	3: {"reset", aNumber},
}

var receiptFields = fields{
	1: {"conv", aString},
	2: {"user", aString},
	3: {"delivered", aNumber},
	4: {"read", aNumber},
	5: {"unread", aNumber},
}

var groupChangeFields = fields{
	1:  {"conv", aString},
	2:  {"by", aString},
	3:  {"time", aNumber},
	4:  {"do", aString},
	5:  {"users", aList},
	6:  {"count", aNumber},
	7:  {"name", aString},
	8:  {"role", aString},
	9:  {"join", aString},
	10: {"history", aString},
}

var conversationSettingsFields = fields{
	1: {"conv", aString},
	2: {"mute", aNumber},
	3: {"pin", aNumber},
	4: {"archive", aNumber},
	5: {"deleted", aNumber},
}
