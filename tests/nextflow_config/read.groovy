// Parses Nextflow configuration files as Groovy and prints what they say: one JSON-like line a setting, `file\tkey\tvalue`.
args.each { path ->
    def file = new File(path)
    new ConfigSlurper().parse(file.toURI().toURL()).flatten().each { key, value ->
        println "${file.name}\t${key}\t${value.toString().replace('\n', ' ').trim()}"
    }
}
