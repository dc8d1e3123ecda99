# Writes the SQL file IN as the C string schema_sql into OUT: one literal a line, so that a line
# of the C file is a line of the SQL file.
file(READ ${IN} sql)
string(REPLACE "\\" "\\\\" sql "${sql}")
string(REPLACE "\"" "\\\"" sql "${sql}")
string(REPLACE "\n" "\\n\"\n    \"" sql "${sql}")
file(WRITE ${OUT} "/* Made from experiments/schema.sql: change that. */\n"
     "#include \"experiments/schema.h\"\n\nconst char schema_sql[] =\n    \"${sql}\";\n")
