// Tasks whose packages are named in the conda directive: as specs, with activation, and in an environment file.

process SPECS {
    conda 'bioconda::samtools=1.17 procps-ng'
    output: stdout
    script: 'echo "specs: $(samtools)"'
}

process ACTIVATED {
    conda 'openjdk r-base procps-ng'
    output: stdout
    script: 'echo "activated: $(java) $(Rscript)"'
}

process FILE {
    conda "${projectDir}/environment.yml"
    output: stdout
    script: 'echo "file: $(labtool | head -n 1) $(python3 -c \'import sys; print(sys.prefix)\')"'
}

workflow {
    SPECS().mix(ACTIVATED(), FILE()).map { text -> "said <${text.trim()}>" }.view()
}
